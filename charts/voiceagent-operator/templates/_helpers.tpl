{{- define "voiceagent-operator.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 53 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "voiceagent-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "voiceagent-operator.labels" -}}
{{ include "voiceagent-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- /* An image's name: the dict has `image` (repository, tag) and `chart`, whose appVersion is the default tag. */ -}}
{{- define "voiceagent-operator.image" -}}
{{ .image.repository }}:{{ .image.tag | default .chart.AppVersion }}
{{- end -}}

{{- define "voiceagent-operator.defaults" -}}
{{- range $field := list "replicas" "autoscaling" "suspend" "paused" -}}
{{- if hasKey $.Values.defaults $field -}}
{{- fail (printf "defaults.%s must not be set: each VoiceAgent has its own. Remove it from the values." $field) -}}
{{- end -}}
{{- end -}}
defaults.yaml: |
  {{- toYaml .Values.defaults | nindent 2 }}
{{- end -}}

{{- /* What the operator needs for the workers' NetworkPolicies, as one variable. */ -}}
{{- define "voiceagent-operator.workerNetworkPolicy" -}}
{{- $policy := .Values.worker.networkPolicy -}}
{{- if $policy.enabled -}}
{{- $operator := dict "namespaceSelector" (dict "matchLabels" (dict "kubernetes.io/metadata.name" .Release.Namespace))
      "podSelector" (dict "matchLabels" (include "voiceagent-operator.selectorLabels" . | fromYaml)) -}}
{{- dict "from" (prepend $policy.from $operator) "egress" $policy.egress | toJson -}}
{{- else -}}
null
{{- end -}}
{{- end -}}
