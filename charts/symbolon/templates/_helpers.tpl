{{/* The name of the release's objects. */}}
{{- define "symbolon.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{/* The name of objects without a namespace: several scoped installations stand beside each other. */}}
{{- define "symbolon.clusterName" -}}
{{- if .Values.watchNamespaces }}
{{- printf "%s-%s" .Release.Namespace (include "symbolon.fullname" .) }}
{{- else }}
{{- include "symbolon.fullname" . }}
{{- end }}
{{- end }}

{{- define "symbolon.serverClusterRole" -}}
{{ include "symbolon.clusterName" . }}-server
{{- end }}

{{- define "symbolon.selectorLabels" -}}
app.kubernetes.io/name: symbolon
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "symbolon.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "symbolon.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "symbolon.serviceAccountName" -}}
{{- $name := .Values.serviceAccount.name }}
{{- if .Values.serviceAccount.create }}
{{- $name = default (include "symbolon.fullname" .) $name }}
{{- end }}
{{- $name = required "serviceAccount.name is needed with serviceAccount.create: false" $name }}
{{- if hasSuffix "-identity" $name }}
{{- fail (printf "serviceAccount.name: %s is what the account of the Identity %s is called, so give the operator's another name" $name (trimSuffix "-identity" $name)) }}
{{- end }}
{{- $name }}
{{- end }}

{{/* The operator as the API server knows it. */}}
{{- define "symbolon.operatorUser" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ include "symbolon.serviceAccountName" . }}
{{- end }}

{{- define "symbolon.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end }}
{{- end }}

{{/* Where Identities are accepted: a JSON list. */}}
{{- define "symbolon.identityNamespaces" -}}
{{- default (list .Release.Namespace) .Values.identityNamespaces | uniq | sortAlpha | toJson }}
{{- end }}

{{/* Where a scoped operator works: a JSON list. */}}
{{- define "symbolon.namespaces" -}}
{{- concat .Values.watchNamespaces (include "symbolon.identityNamespaces" . | fromJsonArray) | uniq | sortAlpha | toJson }}
{{- end }}

{{/* Whether an object of a kind that the API server may not know is rendered.
     Argument: dict root, enabled (auto, true or false), api (list of group/version/kind). */}}
{{- define "symbolon.wanted" -}}
{{- if eq (toString .enabled) "auto" }}
{{- range .api }}
{{- if $.root.Capabilities.APIVersions.Has . }}true{{ end }}
{{- end }}
{{- else if .enabled }}true{{ end }}
{{- end }}

{{/* How long a pod has to end. A server takes 5 s until nobody sends it requests and 25 s for those under way. */}}
{{- define "symbolon.terminationGrace" -}}
{{- $grace := .Values.terminationGracePeriodSeconds }}
{{- if kindIs "invalid" $grace }}{{ ternary 35 30 (not (empty .Values.embeddedIdentity)) }}{{ else }}{{ $grace }}{{ end }}
{{- end }}

{{/* The version of MutatingAdmissionPolicy to use; empty: none. */}}
{{- define "symbolon.mutatingVersion" -}}
{{- $group := "admissionregistration.k8s.io" }}
{{- $policies := .Values.admissionPolicies }}
{{- if and $policies.enabled $policies.protectCreators }}
{{- if .Capabilities.APIVersions.Has (printf "%s/v1/MutatingAdmissionPolicy" $group) }}
{{- if $policies.stampCreators }}{{ $group }}/v1{{ end }}
{{- else if .Capabilities.APIVersions.Has (printf "%s/v1beta1/MutatingAdmissionPolicy" $group) }}
{{- if $policies.stampCreators }}{{ $group }}/v1beta1{{ end }}
{{- else if eq (toString $policies.stampCreators) "true" }}{{ $group }}/v1{{ end }}
{{- end }}
{{- end }}

{{/* A CEL expression: whom the policies do not bind. */}}
{{- define "symbolon.exempt" -}}
{{- $exempt := .Values.admissionPolicies.exempt -}}
(request.userInfo.username in {{ $exempt.users | toJson }} || (has(request.userInfo.groups) && request.userInfo.groups.exists(g, g in {{ $exempt.groups | toJson }})))
{{- end }}

{{/* Where a policy binds: in the namespaces of a scoped installation only. */}}
{{- define "symbolon.policyBinding" -}}
spec:
  policyName: {{ .name }}
  {{- if .validates }}
  validationActions: [Deny]
  {{- end }}
  {{- if .root.Values.watchNamespaces }}
  matchResources:
    namespaceSelector:
      matchExpressions:
        - key: kubernetes.io/metadata.name
          operator: In
          values: {{ include "symbolon.namespaces" .root }}
  {{- end }}
{{- end }}
