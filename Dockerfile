# The operator's and the worker's image: `docker build --target operator .` and `docker build --target runtime .`
# Dependencies come from the hashed locks, in a layer of their own that survives changes of the project's code.
# BuildKit is needed; its built-in frontend will do, so that a machine without a registry can build too.

# Any image with Python 3.11 or later as `python3` on PATH, its venv module, and CA certificates.
ARG BASE_IMAGE=docker.io/library/python:3.11.14-slim-bookworm
# `multilingual` puts the turn detector's text model into the runtime image; `none` leaves it and its libraries out.
ARG TURN_DETECTOR=none
# The label; the testbed and a test keep it equal to pyproject.toml.
ARG VERSION=0.1.0


FROM ${BASE_IMAGE} AS base
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1


# What builds, and stays behind. A proxy that inspects TLS: `--secret id=ca,src=<bundle>` lies over the base's own
# certificates for the steps that mount it, and in no layer.
FROM base AS tools
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    PIP_CERT=/etc/ssl/certs/ca-certificates.crt \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore \
    UV_CACHE_DIR=/var/cache/uv \
    UV_LINK_MODE=copy \
    UV_PYTHON_DOWNLOADS=never
WORKDIR /src
COPY requirements/uv.txt requirements/
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    python3 -m venv /opt/tools \
    && /opt/tools/bin/pip install --require-hashes --requirement requirements/uv.txt


FROM tools AS operator-dependencies
COPY requirements/operator.txt requirements/
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=cache,target=/var/cache/uv \
    /opt/tools/bin/uv venv --quiet --python python3 /opt/venv \
    && /opt/tools/bin/uv pip sync --python /opt/venv --require-hashes --compile-bytecode requirements/operator.txt


FROM tools AS runtime-dependencies-none
COPY requirements/runtime.txt requirements/
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=cache,target=/var/cache/uv \
    /opt/tools/bin/uv venv --quiet --python python3 /opt/venv \
    && /opt/tools/bin/uv pip sync --python /opt/venv --require-hashes --compile-bytecode requirements/runtime.txt \
    && mkdir /opt/models


FROM tools AS runtime-dependencies-multilingual
COPY requirements/runtime-turn-detector.txt requirements/
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=cache,target=/var/cache/uv \
    /opt/tools/bin/uv venv --quiet --python python3 /opt/venv \
    && /opt/tools/bin/uv pip sync --python /opt/venv --require-hashes --compile-bytecode \
        requirements/runtime-turn-detector.txt
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    HF_HOME=/opt/models REQUESTS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt \
    /opt/venv/bin/python -m livekit.agents download-files


FROM runtime-dependencies-${TURN_DETECTOR} AS runtime-dependencies


# The project's own wheel. Its build backend comes from the lock as well: nothing is fetched unpinned.
FROM tools AS wheel
COPY requirements/dev.txt requirements/
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    sed -n '/^poetry-core==/,/[^\\]$/p' requirements/dev.txt >requirements/build.txt \
    && /opt/tools/bin/pip install --require-hashes --requirement requirements/build.txt
COPY pyproject.toml ./
COPY operator operator
COPY runtime runtime
RUN /opt/tools/bin/pip wheel --no-deps --no-build-isolation --no-index --wheel-dir /dist .


FROM base AS unprivileged
RUN echo 'voiceagent:x:65532:65532:voiceagent:/tmp:/usr/sbin/nologin' >>/etc/passwd \
    && echo 'voiceagent:x:65532:' >>/etc/group
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp
WORKDIR /tmp
LABEL org.opencontainers.image.vendor="voiceagent.dev"


FROM unprivileged AS operator
COPY --from=operator-dependencies /opt/venv /opt/venv
RUN --mount=type=bind,from=tools,source=/opt/tools,target=/opt/tools \
    --mount=type=bind,from=wheel,source=/dist,target=/dist \
    /opt/tools/bin/uv pip install --quiet --python /opt/venv --offline --no-cache --no-deps --compile-bytecode /dist/*.whl
LABEL org.opencontainers.image.title="voiceagent-operator" \
    org.opencontainers.image.description="Turns VoiceAgent resources into LiveKit worker Deployments"
ARG VERSION
LABEL org.opencontainers.image.version="${VERSION}"
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["python", "-m", "voiceagent_operator"]


FROM unprivileged AS runtime
# The models' files are read, never fetched, at run time.
ENV HF_HOME=/opt/models \
    HF_HUB_OFFLINE=1
COPY --from=runtime-dependencies /opt/models /opt/models
COPY --from=runtime-dependencies /opt/venv /opt/venv
RUN --mount=type=bind,from=tools,source=/opt/tools,target=/opt/tools \
    --mount=type=bind,from=wheel,source=/dist,target=/dist \
    /opt/tools/bin/uv pip install --quiet --python /opt/venv --offline --no-cache --no-deps --compile-bytecode /dist/*.whl
LABEL org.opencontainers.image.title="voiceagent-runtime" \
    org.opencontainers.image.description="A LiveKit Agents worker that a VoiceAgent describes"
ARG VERSION
LABEL org.opencontainers.image.version="${VERSION}"
USER 65532:65532
EXPOSE 8081
# The kernel drops a SIGTERM that the first process of a container has no handler for, as Python has none while it starts.
# Such a worker would not know that it was told to stop, take calls, and be killed with them at the end of its grace.
ENTRYPOINT ["dumb-init", "--single-child", "--", "python", "-m", "voiceagent_runtime", "start"]
