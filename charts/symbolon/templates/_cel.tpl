{{/* Parts of CEL expressions. */}}

{{/* Whether a list allows a string. An entry that ends in "*" allows every string that begins with the rest.
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

{{/* Whether a list allows a host name. "*.example.com" allows every name below example.com, and "*" allows any.
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

{{/* The names of the fields of a map that break a rule. A field of `fields` may keep its value in the old object, or have a
     value that meets its rule; in a rule, @ is the value. A field with an empty rule may have any value, or be absent. Every
     other field must be as in the old object: with the same value, or absent.
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

{{/* The keys of a map of labels or annotations that the operator may not set. It may remove any key.
     Argument: dict new, old (expressions of maps), rule (of the key k). */}}
{{- define "symbolon.cel.marks" -}}
{{ .new }}.filter(k, !((k in {{ .old }} && {{ .new }}[k] == {{ .old }}[k]) || {{ .rule }}))
{{- end }}

{{/* Variables that several policies for the operator use. */}}
{{- define "symbolon.cel.variables" -}}
- name: old
  expression: "request.operation == 'UPDATE' ? dyn(oldObject) : dyn({})"
- name: spec
  expression: "has(object.spec) ? dyn(object.spec) : dyn({})"
- name: oldSpec
  expression: "'spec' in variables.old ? dyn(variables.old.spec) : dyn({})"
# The Identity whose name is part of the object's name.
- name: identity
  expression: >-
    object.metadata.name.endsWith('-identity') ?
    object.metadata.name.substring(0, object.metadata.name.size() - 9) : ''
- name: selector
  expression: >-
    {'app.kubernetes.io/name': 'symbolon', 'app.kubernetes.io/component': 'identity',
    'app.kubernetes.io/instance': variables.identity}
{{- end }}

{{/* The head of a policy that binds only the operator. Argument: dict root, name. */}}
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

{{/* The binding of such a policy. It applies to the whole cluster. Argument: dict root, name. */}}
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

{{/* The labels that the operator sets on its objects: a JSON list. */}}
{{- define "symbolon.operator.ownLabels" -}}
{{ list "app.kubernetes.io/name" "app.kubernetes.io/component" "app.kubernetes.io/instance" "app.kubernetes.io/managed-by" "symbolon.dev/managed" "symbolon.dev/identity" | toJson }}
{{- end }}

{{/* The rule for the label k of an object. */}}
{{- define "symbolon.operator.labels" -}}
{{- $own := include "symbolon.operator.ownLabels" . | fromJsonArray }}
{{- $monitors := keys (default dict (default dict .Values.serviceMonitor).labels) | sortAlpha }}
{{- $webhooks := include "symbolon.webhooks" . | fromJson }}
{{- $allowed := include "symbolon.allowed" . | fromJson }}
(variables.resource == 'secrets' ? k == 'symbolon.dev/managed' : k in {{ $own | toJson }}) ||
{{ include "symbolon.cel.listed" (dict "of" "k" "list" (concat $webhooks.labels $allowed.inheritedLabels)) }} ||
(variables.resource == 'secrets' && {{ include "symbolon.cel.listed" (dict "of" "k" "list" .Values.secrets.allowedLabels) }}) ||
(variables.resource == 'servicemonitors' && {{ include "symbolon.cel.listed" (dict "of" "k" "list" $monitors) }})
{{- end }}

{{/* The rule for the annotation k of an object. The values of an Ingress's annotations are limited too, because an ingress
     controller may copy them verbatim into its configuration. */}}
{{- define "symbolon.operator.annotations" -}}
{{- $allowed := include "symbolon.allowed" . | fromJson }}
{{- $webhooks := include "symbolon.webhooks" . | fromJson }}
{{- include "symbolon.cel.listed" (dict "of" "k" "list" (prepend $webhooks.annotations "symbolon.dev/*")) }} ||
(variables.resource == 'secrets' && {{ include "symbolon.cel.listed" (dict "of" "k" "list" .Values.secrets.allowedAnnotations) }}) ||
(variables.resource == 'services' && {{ include "symbolon.cel.listed" (dict "of" "k" "list" $allowed.serviceAnnotations) }}) ||
(variables.resource != 'ingresses' && {{ include "symbolon.cel.listed" (dict "of" "k" "list" $allowed.inheritedAnnotations) }}) ||
(variables.resource == 'ingresses' && {{ include "symbolon.cel.listed" (dict "of" "k" "list" (concat $allowed.ingressAnnotations $allowed.inheritedAnnotations)) }} &&
!variables.annotations[k].matches(k.startsWith('nginx.') ? r'[^ -~]|[;{}\x22\x23\x27\x5c]' : r'[\n\r]'))
{{- end }}

{{/* Environment variables that src/cli/logging.rs passes on to the pods of Identities: a JSON list. */}}
{{- define "symbolon.operator.environment" -}}
["SYMBOLON_AUDIT", "SYMBOLON_LOG", "SYMBOLON_LOG_FORMAT", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG", "OTEL_BSP_SCHEDULE_DELAY", "OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "OTEL_BSP_EXPORT_TIMEOUT"]
{{- end }}
