{{/* What the operator may do, in pieces: each right is held where it is needed and nowhere else. No "*", no
     escalate, bind or impersonate: what it gives to servers it holds itself. */}}

{{/* Where tenants' objects are: everywhere, or in each namespace that is watched. */}}
{{- define "symbolon.rules.tenants" -}}
- apiGroups: [symbolon.dev]
  resources: [identities, scopes, oauthclients, serviceaccesstokens]
  verbs: [get, list, watch]
- apiGroups: [symbolon.dev]
  resources: [identities/status, scopes/status, oauthclients/status, serviceaccesstokens/status]
  verbs: [update]
# Of a token whose Identity is not accepted where it is: whether there is anything to take away.
- apiGroups: [symbolon.dev]
  resources: [credentials]
  verbs: [get]
# Listed and watched by label, metadata alone; what carries no label of ours is never written.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create, update, delete]
# Labels, for selectors.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get, list, watch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}

{{/* Where Identities are accepted: their Credentials, and what runs them. Written by server-side apply. */}}
{{- define "symbolon.rules.identities" -}}
- apiGroups: [symbolon.dev]
  resources: [credentials]
  verbs: [get, list, watch, create, update, delete]
- apiGroups: [symbolon.dev]
  resources: [credentials/status]
  verbs: [get, patch]
- apiGroups: [apps]
  resources: [deployments, statefulsets]
  verbs: [get, list, watch, create, patch, delete]
# Volumes of Identities grow; none is made or deleted.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, patch]
- apiGroups: [""]
  resources: [services, serviceaccounts]
  verbs: [get, list, watch, create, patch, delete]
# What keeps those of an Identity from being ready.
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies, ingresses]
  verbs: [get, list, watch, create, patch, delete]
# Not in every cluster, and so not watched.
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, create, patch, delete]
- apiGroups: [monitoring.coreos.com]
  resources: [servicemonitors]
  verbs: [get, create, patch, delete]
{{- end }}

{{/* What every server of an Identity reads, wherever tenants are. */}}
{{- define "symbolon.rules.server" -}}
- apiGroups: [symbolon.dev]
  resources: [identities, scopes, oauthclients, serviceaccesstokens]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get, list, watch]
{{- end }}
