{{/* Parts of CEL expressions. */}}

{{/* Whether a string is on a list; an entry that ends in "*" stands for every string that begins with the rest.
     Argument: dict of (an expression), list. */}}
{{- define "symbolon.cel.listed" -}}
{{- $names := list }}
{{- $starts := list }}
{{- range .list }}
{{- if hasSuffix "*" . }}
{{- $starts = append $starts (trimSuffix "*" .) }}
{{- else }}
{{- $names = append $names . }}
{{- end }}
{{- end }}
{{- if has "" $starts -}}
true
{{- else -}}
({{ .of }} in {{ $names | toJson }}{{ if $starts }} || {{ $starts | toJson }}.exists(start, {{ .of }}.startsWith(start)){{ end }})
{{- end }}
{{- end }}

{{/* Whether a host name is on a list; "*.example.com" stands for every name below example.com, "*" for any.
     Argument: dict of (an expression), list. */}}
{{- define "symbolon.cel.host" -}}
{{- $names := list }}
{{- $ends := list }}
{{- range .list }}
{{- if hasPrefix "*." . }}
{{- $ends = append $ends (trimPrefix "*" .) }}
{{- else }}
{{- $names = append $names . }}
{{- end }}
{{- end }}
{{- if has "*" .list -}}
true
{{- else -}}
({{ .of }} in {{ $names | toJson }}{{ if $ends }} || {{ $ends | toJson }}.exists(end, {{ .of }}.endsWith(end)){{ end }})
{{- end }}
{{- end }}

{{/* The names of the fields of a map that the operator may not set as they are: every field but those of `fields` is
     there if the old object has it, and as it has it. A field of `fields` is as in the old object, or as its rule says, in
     which @ stands for the value; a field with an empty rule has any value.
     Argument: dict new, old (expressions of maps), fields (dict of rules). */}}
{{- define "symbolon.cel.foreign" -}}
{{- $new := .new }}
{{- $old := .old }}
{{- $names := keys .fields | sortAlpha | toJson -}}
{{ $new }}.filter(k, !(k in {{ $names }} || (k in {{ $old }} && {{ $new }}[k] == {{ $old }}[k]))) +
{{ $old }}.filter(k, !(k in {{ $names }} || k in {{ $new }}))
{{- range $field, $rule := .fields }}
{{- if $rule }} +
(!('{{ $field }}' in {{ $new }}) || ('{{ $field }}' in {{ $old }} && {{ $new }}.{{ $field }} == {{ $old }}.{{ $field }}) ||
({{ $rule | replace "@" (printf "%s.%s" $new $field) }}) ? [] : [dyn('{{ $field }}')])
{{- end }}
{{- end }}
{{- end }}

{{/* The keys of a map of labels or annotations that the operator may not set as they are. Those that it takes away are
     its own affair. Argument: dict new, old (expressions of maps), rule (of the key k). */}}
{{- define "symbolon.cel.marks" -}}
{{ .new }}.filter(k, !((k in {{ .old }} && {{ .new }}[k] == {{ .old }}[k]) || {{ .rule }}))
{{- end }}

{{/* The variables of every policy of the operator's writes. */}}
{{- define "symbolon.cel.variables" -}}
- name: old
  expression: "request.operation == 'UPDATE' ? dyn(oldObject) : dyn({})"
- name: spec
  expression: "has(object.spec) ? dyn(object.spec) : dyn({})"
- name: oldSpec
  expression: "'spec' in variables.old ? dyn(variables.old.spec) : dyn({})"
# The Identity that the object is named after.
- name: identity
  expression: >-
    object.metadata.name.endsWith('-identity') ?
    object.metadata.name.substring(0, object.metadata.name.size() - 9) : ''
- name: selector
  expression: >-
    {'app.kubernetes.io/name': 'symbolon', 'app.kubernetes.io/component': 'identity',
    'app.kubernetes.io/instance': variables.identity}
{{- end }}

{{/* The beginning of a policy of the operator's writes. Argument: dict root, name, about (text for a comment). */}}
{{- define "symbolon.operatorPolicy" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: {{ .name }}
  labels:
    {{- include "symbolon.labels" .root | nindent 4 }}
spec:
  failurePolicy: Fail
  matchConditions:
    - name: the-operator
      expression: request.userInfo.username == {{ include "symbolon.operatorUser" .root | toJson }}
{{- end }}

{{/* Its binding: wherever the operator has rights. Argument: dict root, name. */}}
{{- define "symbolon.operatorBinding" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ .name }}
  labels:
    {{- include "symbolon.labels" .root | nindent 4 }}
spec:
  policyName: {{ .name }}
  validationActions: [Deny]
{{- end }}

{{/* Labels that are the operator's own. */}}
{{- define "symbolon.operator.ownLabels" -}}
{{ list "app.kubernetes.io/name" "app.kubernetes.io/component" "app.kubernetes.io/instance" "app.kubernetes.io/managed-by" "symbolon.dev/managed" "symbolon.dev/identity" | toJson }}
{{- end }}

{{/* A rule of the label k of an object. */}}
{{- define "symbolon.operator.labels" -}}
{{- $own := include "symbolon.operator.ownLabels" . | fromJsonArray }}
{{- $monitors := keys (default dict (default dict .Values.serviceMonitor).labels) | sortAlpha }}
{{- $webhooks := include "symbolon.webhooks" . | fromJson }}
(variables.resource == 'secrets' ? k == 'symbolon.dev/managed' : k in {{ $own | toJson }}) ||
{{ include "symbolon.cel.listed" (dict "of" "k" "list" $webhooks.labels) }} ||
(variables.resource == 'secrets' && {{ include "symbolon.cel.listed" (dict "of" "k" "list" .Values.secrets.allowedLabels) }}) ||
(variables.resource == 'servicemonitors' && {{ include "symbolon.cel.listed" (dict "of" "k" "list" $monitors) }})
{{- end }}

{{/* A rule of the annotation k of an object. A controller may write the value of an Ingress's into its own configuration
     as it stands. */}}
{{- define "symbolon.operator.annotations" -}}
{{- $allowed := include "symbolon.allowed" . | fromJson }}
{{- $webhooks := include "symbolon.webhooks" . | fromJson }}
{{- include "symbolon.cel.listed" (dict "of" "k" "list" (prepend $webhooks.annotations "symbolon.dev/*")) }} ||
(variables.resource == 'secrets' && {{ include "symbolon.cel.listed" (dict "of" "k" "list" .Values.secrets.allowedAnnotations) }}) ||
(variables.resource == 'services' && {{ include "symbolon.cel.listed" (dict "of" "k" "list" $allowed.serviceAnnotations) }}) ||
(variables.resource == 'ingresses' && {{ include "symbolon.cel.listed" (dict "of" "k" "list" $allowed.ingressAnnotations) }} &&
!variables.annotations[k].matches(k.startsWith('nginx.') ? r'[^ -~]|[;{}\x22\x23\x27\x5c]' : r'[\n\r]'))
{{- end }}

{{/* Variables of the pods of Identities that src/cli/logging.rs passes on: a JSON list. */}}
{{- define "symbolon.operator.environment" -}}
["SYMBOLON_AUDIT", "SYMBOLON_LOG", "SYMBOLON_LOG_FORMAT", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG", "OTEL_BSP_SCHEDULE_DELAY", "OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "OTEL_BSP_EXPORT_TIMEOUT"]
{{- end }}
