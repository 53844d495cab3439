{{- /* Who the operator is to the API server. */ -}}
{{- define "voiceagent-operator.username" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ include "voiceagent-operator.fullname" . }}
{{- end -}}

{{- define "voiceagent-operator.isOperator" -}}
- name: only-the-operator
  expression: request.userInfo.username == '{{ include "voiceagent-operator.username" . }}'
{{- end -}}

{{- /* Policies belong to the whole cluster: the namespace tells two releases of one name apart. The dict has `root` and `policy`. */ -}}
{{- define "voiceagent-operator.policyName" -}}
{{ include "voiceagent-operator.fullname" .root }}-{{ .policy }}.{{ .root.Release.Namespace }}
{{- end -}}

{{- define "voiceagent-operator.policyBinding" -}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ include "voiceagent-operator.policyName" . }}
  labels:
    {{- include "voiceagent-operator.labels" .root | nindent 4 }}
spec:
  policyName: {{ include "voiceagent-operator.policyName" . }}
  validationActions: [Deny, Audit]
{{- end -}}
