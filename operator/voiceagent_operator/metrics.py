"""The operator's own Prometheus metrics, in a registry of their own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, disable_created_metrics

from . import __version__


class Metrics:
    """All metrics of one operator process; labels have few values, and none comes from a user."""

    def __init__(self) -> None:
        # Otherwise each counter has a second series, with its birthday.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.reconciles = Counter(
            "voiceagent_operator_reconciles",
            "Reconciles of VoiceAgents by result: ok, conflict, refused, failed.",
            ["result"],
            registry=self.registry,
        )
        self.reconcile_seconds = Histogram(
            "voiceagent_operator_reconcile_duration_seconds",
            "Time that a reconcile takes.",
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=self.registry,
        )
        self.glances = Counter(
            "voiceagent_operator_glances",
            "Looks at VoiceAgents of which nothing had changed, so that no reconcile was needed.",
            registry=self.registry,
        )
        self.followed = Gauge(
            "voiceagent_operator_followed_workers",
            "Workers that will say when they have something new, and are not asked meanwhile.",
            registry=self.registry,
        )
        self.queue_depth = Gauge(
            "voiceagent_operator_queue_depth",
            "VoiceAgents that wait for a reconcile.",
            registry=self.registry,
        )
        self.api_requests = Counter(
            "voiceagent_operator_api_requests",
            "Requests to the API server by verb and HTTP status (or `error`).",
            ["verb", "code"],
            registry=self.registry,
        )
        self.queue_age = Gauge(
            "voiceagent_operator_queue_oldest_seconds",
            "For how long the oldest VoiceAgent has waited for a reconcile.",
            registry=self.registry,
        )
        self.api_seconds = Histogram(
            "voiceagent_operator_api_request_duration_seconds",
            "Time that the API server takes to answer, by verb.",
            ["verb"],
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20),
            registry=self.registry,
        )
        self.write_rate = Gauge(
            "voiceagent_operator_write_rate_limit",
            "Writes a second that the operator allows itself; lower after the API server asked for it.",
            registry=self.registry,
        )
        self.watch_age = Gauge(
            "voiceagent_operator_watch_silence_seconds",
            "For how long the cache of a kind may have missed something; 0 while its watch runs.",
            ["kind"],
            registry=self.registry,
        )
        self.watch_restarts = Counter(
            "voiceagent_operator_watch_restarts",
            "Watches that broke or expired, by kind.",
            ["kind"],
            registry=self.registry,
        )
        self.events = Counter(
            "voiceagent_operator_events",
            "Events written, and counts of Events brought up to date.",
            registry=self.registry,
        )
        self.events_dropped = Counter(
            "voiceagent_operator_events_dropped",
            "Events that were not written: too many of one VoiceAgent, or the API server would not have them.",
            registry=self.registry,
        )
        self.leading = Gauge(
            "voiceagent_operator_leader",
            "1 on the replica that writes.",
            registry=self.registry,
        )
        self.terms = Counter(
            "voiceagent_operator_leader_terms",
            "How often this replica began to lead.",
            registry=self.registry,
        )
        self.wrong_victims = Counter(
            "voiceagent_operator_wrong_victims",
            "Pods that a ReplicaSet deleted in place of the empty ones that were chosen.",
            registry=self.registry,
        )
        self.autoscaled = Gauge(
            "voiceagent_operator_autoscaling_agents",
            "VoiceAgents whose number of workers the operator decides, by what makes the number.",
            ["reason"],
            registry=self.registry,
        )
        self.desired_workers = Gauge(
            "voiceagent_operator_autoscaling_desired_workers",
            "Workers that shall take the new calls of these VoiceAgents.",
            registry=self.registry,
        )
        self.autoscaled_calls = Gauge(
            "voiceagent_operator_autoscaling_calls",
            "Calls on all their workers, as far as it is known.",
            registry=self.registry,
        )
        self.autoscaled_capacity = Gauge(
            "voiceagent_operator_autoscaling_capacity",
            "Calls that their workers which take new ones can hold.",
            registry=self.registry,
        )
        self.autoscaled_free = Gauge(
            "voiceagent_operator_autoscaling_free",
            "Calls that these can take at once.",
            registry=self.registry,
        )
        self.autoscaling_decisions = Counter(
            "voiceagent_operator_autoscaling_decisions",
            "Changed numbers of workers by direction (up, down) and reason; held: one that may not fall by now.",
            ["direction", "reason"],
            registry=self.registry,
        )
        self.serving_workers = Gauge(
            "voiceagent_operator_autoscaling_serving_workers",
            "Workers of these VoiceAgents that take new calls.",
            registry=self.registry,
        )
        self.longest = Gauge(
            "voiceagent_operator_autoscaling_longest_seconds",
            "For how long the same reason has made the number of a VoiceAgent, of the one where it is longest.",
            ["reason"],
            registry=self.registry,
        )
        self.longest_wait = Gauge(
            "voiceagent_operator_autoscaling_longest_wait_seconds",
            "For how long a VoiceAgent that has too few workers has got none, of the one that waits longest.",
            registry=self.registry,
        )
        self.report_age = Gauge(
            "voiceagent_operator_autoscaling_oldest_report_seconds",
            "How old the oldest report of a worker is that cannot be read now; 0 while all can.",
            registry=self.registry,
        )
        info = Info("voiceagent_operator_build", "The operator's version.", registry=self.registry)
        info.info({"version": __version__})
