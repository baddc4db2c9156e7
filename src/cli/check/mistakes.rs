//! The mistakes that newcomers make in YAML, and the one finding that each of them must lead to.
//!
//! A row has a name, the text of [`GOOD`] that is replaced, its replacement, and the expected finding: line and column,
//! message, and the help after a slash. Everything else that the mistake breaks is a note that points to the finding.
//!
//! The table is one file, although it is long: to find the row of a message, search here.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use super::super::manifests::World;
use super::{findings, json};
use crate::directory::Settings;
use crate::source::manifest::Manifest;

/// Four objects without a mistake.
const GOOD: &str = "\
apiVersion: symbolon.dev/v1alpha1
kind: Identity
metadata:
  name: main
  namespace: platform
spec:
  issuer: https://id.example.com/main
  access:
    clients: {from: List, names: [shop]}
  gateways:
    - name: api
      audience: https://id.example.com/main
      scopes: [orders.read]
---
apiVersion: symbolon.dev/v1alpha1
kind: Scope
metadata:
  name: orders.read
  namespace: platform
spec:
  identityRef:
    name: main
  allowedNamespaces:
    from: List
    names: [shop]
---
apiVersion: symbolon.dev/v1alpha1
kind: OAuthClient
metadata:
  name: backend
  namespace: shop
spec:
  identityRef:
    name: main
    namespace: platform
  grantTypes: [ClientCredentials]
  scopes: [orders.read]
  systemUser:
    name: backend
  referenceTokens: AdministratorsOnly
---
apiVersion: symbolon.dev/v1alpha1
kind: ServiceAccessToken
metadata:
  name: nightly
  namespace: shop
spec:
  clientRef:
    name: backend
  scopes: [orders.read]
  lifetime: 720h
";

type Mistake = (&'static str, &'static str, &'static str, &'static str);

const MISTAKES: [Mistake; 131] = [
    (
        "a tab as indent",
        "  lifetime: 720h",
        "\tlifetime: 720h",
        "51:1 this line is indented with a tab, which YAML does not allow: write spaces, two for each level",
    ),
    (
        "a tab before a nested key",
        "    name: backend\n  scopes",
        "\t\tname: backend\n  scopes",
        "49:1 this line is indented with a tab, which YAML does not allow: write spaces, two for each level",
    ),
    (
        "tab after spaces",
        "  systemUser:\n    name: backend",
        "  systemUser:\n  \tname: backend",
        "39:3 this line is indented with a tab, which YAML does not allow: write spaces, two for each level",
    ),
    (
        "one space too many",
        "  lifetime: 720h",
        "   lifetime: 720h",
        "51:4 this line is indented by 3 spaces, and no line that it could belong to is: write 2 spaces, as 1 line above",
    ),
    (
        "one space too few",
        "  lifetime: 720h",
        " lifetime: 720h",
        "51:2 this line is indented by 1 space, and no line that it could belong to is: write 2 spaces, as 1 line above",
    ),
    (
        "nested key not indented",
        "  systemUser:\n    name: backend",
        "  systemUser:\n  name: backend",
        "39:3 unknown field `name`: it belongs to `systemUser`: indent it by two spaces more",
    ),
    (
        "key indented under scalar",
        "  clientRef:\n    name: backend\n  scopes",
        "  clientRef: backend\n    name: backend\n  scopes",
        "48:3 this field has a value, and the line below is indented as if it were a part of it: remove the value, or indent both lines alike",
    ),
    (
        "no space after colon",
        "  lifetime: 720h",
        "  lifetime:720h",
        "51:3 this line has no space after ':': write 'key: value'",
    ),
    (
        "no space after colon mid",
        "  scopes: [orders.read]\n  lifetime",
        "  scopes:[orders.read]\n  lifetime",
        "50:3 this line has no space after ':': write 'key: value'",
    ),
    (
        "colon in value",
        "  issuer: https://id.example.com/main",
        "  issuer: id: https://id.example.com/main",
        "7:11 this value contains ': ' and is not in quotes, so that YAML takes it for another field: put the whole value in quotes",
    ),
    (
        "colon in description",
        "  lifetime: 720h",
        "  description: nightly: the report\n  lifetime: 720h",
        "51:16 this value contains ': ' and is not in quotes, so that YAML takes it for another field: put the whole value in quotes",
    ),
    (
        "unclosed bracket",
        "  scopes: [orders.read]\n  lifetime",
        "  scopes: [orders.read\n  lifetime",
        "50:11 this '[' is not closed: write ']' at its end",
    ),
    (
        "unclosed quote",
        "  lifetime: 720h",
        "  lifetime: \"720h",
        "51:13 this quote is not closed: write the same quote at the end of the value",
    ),
    (
        "unclosed brace",
        "clients: {from: List, names: [shop]}",
        "clients: {from: List, names: [shop]",
        "9:14 this '{' is not closed: write '}' at its end",
    ),
    (
        "missing colon",
        "  lifetime: 720h",
        "  lifetime 720h",
        "51:3 this line has no ':': write 'key: value'",
    ),
    (
        "list without space",
        "  scopes: [orders.read]\n  lifetime",
        "  scopes:\n    -orders.read\n  lifetime",
        "51:5 scopes must be a list: write a space after each '-'",
    ),
    (
        "key twice",
        "  lifetime: 720h",
        "  lifetime: 720h\n  lifetime: 24h",
        "52:3 `lifetime` is written twice: remove one",
    ),
    (
        "equals",
        "  lifetime: 720h",
        "  lifetime = 720h",
        "51:3 YAML writes ':' and not '=': write 'key: value'",
    ),
    (
        "smart quotes",
        "  lifetime: 720h",
        "  lifetime: “720h”",
        "51:13 a duration must be whole numbers with the units h, m, s and ms, such as 720h (30 days), 1h30m or 90s, not `“720h”`; did you mean `720h`?",
    ),
    (
        "at sign",
        "  lifetime: 720h",
        "  description: @nightly\n  lifetime: 720h",
        "51:16 a value that begins with '@' must be in quotes",
    ),
    (
        "star",
        "names: [shop]}\n",
        "names: [*]}\n",
        "9:35 a value that begins with '*' must be in quotes",
    ),
    (
        "percent",
        "  lifetime: 720h",
        "  description: %a\n  lifetime: 720h",
        "51:16 a value that begins with '%' must be in quotes",
    ),
    (
        "missing separator",
        "---\napiVersion: symbolon.dev/v1alpha1\nkind: ServiceAccessToken",
        "apiVersion: symbolon.dev/v1alpha1\nkind: ServiceAccessToken",
        "41:1 a second object begins here: write '---' on a line of its own before it",
    ),
    (
        "template",
        "  name: nightly",
        "  name: {{ .Release.Name }}-nightly",
        "45:10 this looks like a template: render it first",
    ),
    (
        "list misindented",
        "  scopes: [orders.read]\n  lifetime",
        "  scopes:\n    - orders.read\n   - b\n  lifetime",
        "52:4 this line is indented by 3 spaces, and no line that it could belong to is: write 4 spaces, as 1 line above",
    ),
    (
        "windows nbsp",
        "  lifetime: 720h",
        "\u{a0} lifetime: 720h",
        "51:1 unknown field `\u{a0} lifetime`: it has a character that only looks like a space (U+00A0): write plain spaces",
    ),
    (
        "kind misspelt",
        "kind: OAuthClient",
        "kind: OAuthclient",
        "28:7 `OAuthclient` is not a kind of symbolon.dev: did you mean `OAuthClient`?",
    ),
    (
        "kind missing",
        "kind: OAuthClient\n",
        "",
        "27:13 kind is missing: write one of Identity, Scope, OAuthClient, ServiceAccessToken, User",
    ),
    (
        "apiversion v1",
        "apiVersion: symbolon.dev/v1alpha1\nkind: OAuthClient",
        "apiVersion: symbolon.dev/v1\nkind: OAuthClient",
        "27:13 this release does not know apiVersion \"symbolon.dev/v1\": write symbolon.dev/v1alpha1",
    ),
    (
        "group misspelt",
        "apiVersion: symbolon.dev/v1alpha1\nkind: OAuthClient",
        "apiVersion: symbolon.dev.v1alpha1\nkind: OAuthClient",
        "27:13 `symbolon.dev.v1alpha1` is not an apiVersion of Symbolon: write `symbolon.dev/v1alpha1`",
    ),
    (
        "group only",
        "apiVersion: symbolon.dev/v1alpha1\nkind: OAuthClient",
        "apiVersion: v1alpha1\nkind: OAuthClient",
        "27:13 `v1alpha1` is not an apiVersion of Symbolon: write `symbolon.dev/v1alpha1`",
    ),
    (
        "apiVersion missing",
        "apiVersion: symbolon.dev/v1alpha1\nkind: OAuthClient",
        "kind: OAuthClient",
        "27:7 apiVersion is missing: write `apiVersion: symbolon.dev/v1alpha1`",
    ),
    (
        "kind of later release",
        "kind: ServiceAccessToken",
        "kind: IdentityProvider",
        "43:7 the kind IdentityProvider is not available yet: a later release will have it",
    ),
    (
        "name missing",
        "  name: backend\n  namespace: shop\nspec:\n  identityRef",
        "  namespace: shop\nspec:\n  identityRef",
        "29:1 metadata.name is missing",
    ),
    (
        "name upper case",
        "  name: nightly",
        "  name: Nightly",
        "45:9 `Nightly` is not a valid name: write at most 253 lower-case letters, digits, '-' and '.', each part beginning and ending with a letter or digit; did you mean `nightly`?",
    ),
    (
        "name underscore",
        "  name: nightly",
        "  name: nightly_report",
        "45:9 `nightly_report` is not a valid name: write at most 253 lower-case letters, digits, '-' and '.', each part beginning and ending with a letter or digit; did you mean `nightly-report`?",
    ),
    (
        "no namespace",
        "  name: backend\n  namespace: shop\n",
        "  name: backend\n",
        "28:7 Identity platform/main does not allow clients of namespace default: ask its administrators to add the namespace to spec.access.clients / the object names no namespace: set metadata.namespace",
    ),
    (
        "spec missing",
        "spec:\n  clientRef:\n    name: backend\n  scopes: [orders.read]\n  lifetime: 720h\n",
        "",
        "43:7 spec is missing: write the desired state of the ServiceAccessToken in it",
    ),
    (
        "fields beside spec",
        "spec:\n  clientRef:",
        "clientRef:\n    name: backend\nspec:\n  clientRef:",
        "47:1 unknown field `clientRef`: it belongs at `spec.clientRef`",
    ),
    (
        "lifetime number",
        "lifetime: 720h",
        "lifetime: 720",
        "51:13 lifetime must be a duration: write the number with its unit, such as 720h, or 12m if it counts seconds",
    ),
    (
        "lifetime seconds",
        "lifetime: 720h",
        "lifetime: 2592000",
        "51:13 lifetime must be a duration: write the number with its unit, such as 720h",
    ),
    (
        "lifetime days",
        "lifetime: 720h",
        "lifetime: 30d",
        "51:13 a duration must be whole numbers with the units h, m, s and ms, such as 720h (30 days), 1h30m or 90s, not `30d`; did you mean `720h`?",
    ),
    (
        "lifetime string number",
        "lifetime: 720h",
        "lifetime: \"720\"",
        "51:13 a duration must be whole numbers with the units h, m, s and ms, such as 720h (30 days), 1h30m or 90s, not `720`; write 720h, or 12m if it counts seconds",
    ),
    (
        "lifetime words",
        "lifetime: 720h",
        "lifetime: 30 days",
        "51:13 a duration must be whole numbers with the units h, m, s and ms, such as 720h (30 days), 1h30m or 90s, not `30 days`; did you mean `720h`?",
    ),
    (
        "lifetime fraction",
        "lifetime: 720h",
        "lifetime: 1.5h",
        "51:13 a duration must be whole numbers with the units h, m, s and ms, such as 720h (30 days), 1h30m or 90s, not `1.5h`; did you mean `1h30m`?",
    ),
    (
        "lifetime iso",
        "lifetime: 720h",
        "lifetime: P30D",
        "51:13 a duration must be whole numbers with the units h, m, s and ms, such as 720h (30 days), 1h30m or 90s, not `P30D`; did you mean `720h`?",
    ),
    (
        "lifetime short",
        "lifetime: 720h",
        "lifetime: 5m",
        "51:13 lifetime must be between 10m and 87600h",
    ),
    (
        "lifetime too long",
        "lifetime: 720h",
        "lifetime: 87600h",
        "51:13 lifetime is too long: Identity platform/main allows at most 8784h: reduce it, or ask its administrators to raise spec.limits.maxServiceTokenLifetime",
    ),
    (
        "lifetime bad",
        "lifetime: 720h",
        "lifetime: never",
        "51:13 a duration must be whole numbers with the units h, m, s and ms, such as 720h (30 days), 1h30m or 90s, not `never`",
    ),
    (
        "expiresAt date",
        "lifetime: 720h",
        "expiresAt: 2027-01-31\n  rotation: {policy: Manual}",
        "51:14 `2027-01-31` is not a time: write an RFC 3339 time such as 2027-01-31T12:00:00Z; did you mean `2027-01-31T00:00:00Z`?",
    ),
    (
        "systemUser string",
        "systemUser:\n    name: backend",
        "systemUser: backend",
        "38:15 systemUser must be an object: write {name: backend}",
    ),
    (
        "clientRef string",
        "clientRef:\n    name: backend",
        "clientRef: backend",
        "48:14 clientRef must be an object: write {name: backend}",
    ),
    (
        "identityRef string",
        "identityRef:\n    name: main\n    namespace: platform",
        "identityRef: main",
        "33:16 identityRef must be an object: write {name: main}",
    ),
    (
        "identityRef ns/name",
        "identityRef:\n    name: main\n    namespace: platform",
        "identityRef: platform/main",
        "33:16 identityRef must be an object: write {name: main, namespace: platform}",
    ),
    (
        "identityRef name slash",
        "    name: main\n    namespace: platform",
        "    name: platform/main",
        "34:11 `platform/main` is not a name: write name: main and namespace: platform",
    ),
    (
        "identityRef without namespace",
        "    name: main\n    namespace: platform",
        "    name: main",
        "33:3 Identity shop/main does not exist: create it, or name another one in spec.identityRef / add `namespace: platform` to spec.identityRef",
    ),
    (
        "identityRef wrong namespace",
        "    name: main\n    namespace: platform",
        "    name: main\n    namespace: platfrom",
        "33:3 Identity platfrom/main does not exist: create it, or name another one in spec.identityRef / did you mean `namespace: platform`?",
    ),
    (
        "identityRef misspelt",
        "    name: main\n    namespace: platform",
        "    name: mian\n    namespace: platform",
        "33:3 Identity platform/mian does not exist: create it, or name another one in spec.identityRef / did you mean `main`?",
    ),
    (
        "identityRef missing",
        "  identityRef:\n    name: main\n    namespace: platform\n",
        "",
        "32:1 the object names no Identity and the installation has no default one: set spec.identityRef.name (and namespace) / write `identityRef: {name: main, namespace: platform}`, or check with --default-identity platform/main",
    ),
    (
        "scope ref in wrong ns",
        "  name: orders.read\n  namespace: platform",
        "  name: orders.read\n  namespace: shop",
        "21:3 Identity shop/main does not exist: create it, or name another one in spec.identityRef / add `namespace: platform` to spec.identityRef",
    ),
    (
        "scope misspelt in client",
        "  grantTypes: [ClientCredentials]\n  scopes: [orders.read]",
        "  grantTypes: [ClientCredentials]\n  scopes: [orders.raed]",
        "37:12 scope \"orders.raed\" does not exist in Identity platform/main: create a Scope for it, or correct the value / did you mean `orders.read`?",
    ),
    (
        "scope misspelt in token",
        "  scopes: [orders.read]\n  lifetime",
        "  scopes: [orders.raed]\n  lifetime",
        "50:12 OAuthClient shop/backend does not have scope \"orders.raed\": add it to the client's spec.scopes, or remove it here / did you mean `orders.read`?",
    ),
    (
        "quoted scope misspelt",
        "  scopes: [orders.read]\n  lifetime",
        "  scopes: ['orders.raed']\n  lifetime",
        "50:12 OAuthClient shop/backend does not have scope \"orders.raed\": add it to the client's spec.scopes, or remove it here / did you mean `orders.read`?",
    ),
    (
        "scopes string",
        "  scopes: [orders.read]\n  lifetime",
        "  scopes: orders.read\n  lifetime",
        "50:11 scopes must be a list: write [orders.read]",
    ),
    (
        "scopes one string",
        "  scopes: [orders.read]\n  lifetime",
        "  scopes: [orders.read orders.write]\n  lifetime",
        "50:12 `orders.read orders.write` is not allowed: write printable ASCII without spaces, '\"' and '\\' (RFC 6749 section 3.3); write each value as an item of its own",
    ),
    (
        "scopes string space",
        "  scopes: [orders.read]\n  lifetime",
        "  scopes: orders.read orders.write\n  lifetime",
        "50:11 scopes must be a list: write [orders.read, orders.write]",
    ),
    (
        "scopes empty",
        "  scopes: [orders.read]\n  lifetime",
        "  scopes: []\n  lifetime",
        "50:3 scopes must have at least 1 item",
    ),
    (
        "scope not in client",
        "  grantTypes: [ClientCredentials]\n  scopes: [orders.read]\n",
        "  grantTypes: [ClientCredentials]\n",
        "49:12 OAuthClient shop/backend does not have scope \"orders.read\": add it to the client's spec.scopes, or remove it here",
    ),
    (
        "scope built in",
        "  grantTypes: [ClientCredentials]\n  scopes: [orders.read]",
        "  grantTypes: [ClientCredentials]\n  scopes: [orders.read, openid]",
        "37:25 scope \"openid\" is about people: only clients with AuthorizationCode in grantTypes can have it",
    ),
    (
        "built in in token",
        "  scopes: [orders.read]\n  lifetime",
        "  scopes: [orders.read, openid]\n  lifetime",
        "50:25 scope \"openid\" is about people: only clients with AuthorizationCode in grantTypes can have it",
    ),
    (
        "gateway scope misspelt",
        "      scopes: [orders.read]",
        "      scopes: [orders.raed]",
        "10:3 gateway \"api\" requires scope \"orders.raed\", which does not exist, so that no token passes: create a Scope for it, or correct the value",
    ),
    (
        "scope with fault",
        "    names: [shop]\n---\napiVersion: symbolon.dev/v1alpha1\nkind: OAuth",
        "    names: shop\n---\napiVersion: symbolon.dev/v1alpha1\nkind: OAuth",
        "25:12 names must be a list: write [shop]",
    ),
    (
        "scope not for ns",
        "    from: List\n    names: [shop]\n---",
        "    from: Same\n---",
        "36:12 Scope platform/orders.read does not allow namespace shop: ask the team of namespace platform to add it to spec.allowedNamespaces",
    ),
    (
        "identity not for ns",
        "clients: {from: List, names: [shop]}",
        "clients: {from: Same}",
        "28:7 Identity platform/main does not allow clients of namespace shop: ask its administrators to add the namespace to spec.access.clients",
    ),
    (
        "grant snake",
        "[ClientCredentials]",
        "[client_credentials]",
        "36:16 `client_credentials` is not a value of grantTypes: did you mean `ClientCredentials`? It is one of ClientCredentials, AuthorizationCode, RefreshToken",
    ),
    (
        "grant later",
        "[ClientCredentials]",
        "[DeviceCode]",
        "36:16 `DeviceCode` is not available yet, a later release will have it: write one of ClientCredentials, AuthorizationCode, RefreshToken",
    ),
    (
        "grant later snake",
        "[ClientCredentials]",
        "['urn:ietf:params:oauth:grant-type:device_code']",
        "36:16 `urn:ietf:params:oauth:grant-type:device_code` is not available yet, a later release will have it: write one of ClientCredentials, AuthorizationCode, RefreshToken",
    ),
    (
        "grant later 2",
        "[ClientCredentials]",
        "[ClientCredentials, TokenExchange]",
        "36:35 `TokenExchange` is not available yet, a later release will have it: write one of ClientCredentials, AuthorizationCode, RefreshToken",
    ),
    (
        "grant string",
        "[ClientCredentials]",
        "ClientCredentials",
        "36:15 grantTypes must be a list: write [ClientCredentials]",
    ),
    (
        "field later",
        "  referenceTokens: AdministratorsOnly",
        "  referenceTokens: AdministratorsOnly\n  privateKeyJwt: {}",
        "41:3 unknown field `privateKeyJwt`: it is not available yet, a later release will have it: remove it",
    ),
    (
        "field misspelt",
        "  grantTypes",
        "  grantType",
        "36:3 unknown field `grantType`: did you mean `grantTypes`?",
    ),
    (
        "field moved",
        "  lifetime: 720h",
        "  renewBefore: 24h",
        "51:3 unknown field `renewBefore`: it belongs at `spec.rotation.renewBefore`",
    ),
    (
        "ref tokens missing",
        "  referenceTokens: AdministratorsOnly\n",
        "",
        "48:11 OAuthClient shop/backend does not allow reference tokens: set its spec.referenceTokens to AdministratorsOnly",
    ),
    (
        "system user missing",
        "  systemUser:\n    name: backend\n",
        "",
        "47:11 OAuthClient shop/backend has no system user to act as: set its spec.systemUser.name",
    ),
    (
        "client misspelt",
        "  clientRef:\n    name: backend",
        "  clientRef:\n    name: backedn",
        "49:11 OAuthClient shop/backedn does not exist: create it, or name another one in spec.clientRef / did you mean `backend`?",
    ),
    (
        "client in other ns",
        "  name: backend\n  namespace: shop",
        "  name: backend\n  namespace: shopp",
        "28:7 Identity platform/main does not allow clients of namespace shopp: ask its administrators to add the namespace to spec.access.clients",
    ),
    (
        "client id foreign",
        "  grantTypes: [Cl",
        "  clientId: backend\n  grantTypes: [Cl",
        "36:13 namespace shop does not own the client id \"backend\": write \"shop.…\", or ask the administrators of Identity platform/main to grant it in spec.access.names",
    ),
    (
        "issuer no scheme",
        "https://id.example.com/main\n  access",
        "id.example.com/main\n  access",
        "7:11 issuer must be a URL without a user, query, fragment or trailing slash, such as https://id.example.com/main, not `id.example.com/main`; did you mean `https://id.example.com/main`?",
    ),
    (
        "issuer slash",
        "https://id.example.com/main\n  access",
        "https://id.example.com/main/\n  access",
        "7:11 issuer must be a URL without a user, query, fragment or trailing slash, such as https://id.example.com/main, not `https://id.example.com/main/`; did you mean `https://id.example.com/main`?",
    ),
    (
        "issuer http",
        "https://id.example.com/main\n  access",
        "http://id.example.com/main\n  access",
        "7:11 issuer must be an https URL; http is allowed only for loopback addresses and *.svc hosts",
    ),
    (
        "issuer upper",
        "https://id.example.com/main\n  access",
        "https://ID.example.com/main\n  access",
        "7:11 issuer must be in normal form: the host in lower case without a trailing dot, no default port, and no '.' or '..' segment in the path",
    ),
    (
        "issuer query",
        "https://id.example.com/main\n  access",
        "https://id.example.com/main?a=b\n  access",
        "7:11 issuer must be a URL without a user, query, fragment or trailing slash, such as https://id.example.com/main, not `https://id.example.com/main?a=b`; did you mean `https://id.example.com/main`?",
    ),
    (
        "issuer missing",
        "  issuer: https://id.example.com/main\n",
        "",
        "6:1 issuer is missing (URL of the issuer, the `iss` claim of every token)",
    ),
    (
        "disabled string",
        "  systemUser:",
        "  disabled: \"false\"\n  systemUser:",
        "38:13 disabled must be true or false: write false without quotes",
    ),
    (
        "disabled yes",
        "  systemUser:",
        "  disabled: yes\n  systemUser:",
        "50:11 OAuthClient shop/backend is disabled: set its spec.disabled to false",
    ),
    (
        "displayName number",
        "  systemUser:",
        "  displayName: 007\n  systemUser:",
        "38:16 displayName must be a string: put the value in quotes / kubectl reads unquoted 007 as the number 7: put it in quotes if you mean a string",
    ),
    (
        "null value",
        "    name: backend\n  referenceTokens",
        "    name:\n  referenceTokens",
        "39:5 name has no value: write one, or remove the field",
    ),
    (
        "from missing",
        "clients: {from: List, names: [shop]}",
        "clients: {names: [shop]}",
        "9:15 names is required with from: List and forbidden otherwise",
    ),
    (
        "clients string",
        "clients: {from: List, names: [shop]}",
        "clients: All",
        "9:14 clients must be an object: write {from: All}",
    ),
    (
        "clients list",
        "clients: {from: List, names: [shop]}",
        "clients: [shop]",
        "9:5 clients must be an object: write {from: List, names: [shop]}",
    ),
    (
        "from lower",
        "clients: {from: List, names: [shop]}",
        "clients: {from: list, names: [shop]}",
        "9:21 `list` is not a value of from: did you mean `List`? It is one of Same, All, Selector, List, None",
    ),
    (
        "ends twice",
        "lifetime: 720h",
        "lifetime: 720h\n  neverExpires: true",
        "47:1 set at most one of lifetime, expiresAt and neverExpires",
    ),
    (
        "never",
        "lifetime: 720h",
        "neverExpires: true",
        "51:17 Identity platform/main does not allow tokens that never expire: set a lifetime, or ask its administrators to set spec.limits.neverExpiringTokens to Allow",
    ),
    (
        "rotation renewBefore",
        "lifetime: 720h",
        "lifetime: 720h\n  rotation: {renewBefore: 720h}",
        "52:27 renewBefore must be shorter than lifetime",
    ),
    (
        "secret string",
        "lifetime: 720h",
        "secret: my-secret",
        "51:11 secret must be an object: write {name: my-secret}",
    ),
    (
        "secretName",
        "lifetime: 720h",
        "secretName: my-secret",
        "51:3 unknown field `secretName`: did you mean `secret: {name: …}`?",
    ),
    (
        "placeholder",
        "lifetime: 720h",
        "secret: {template: {data: {a: '${token}'}}}",
        "51:33 `${token}` is not a placeholder, so that the Secret would contain it as it is: write `$(token)`",
    ),
    (
        "placeholder2",
        "lifetime: 720h",
        "secret: {template: {data: {a: '$(tokne)'}}}",
        "51:33 `$(tokne)` is not a placeholder: did you mean `$(token)`? The placeholders are $(token), $(client-id), $(issuer), $(token-url), each with |base64 before the closing bracket if you need it; $$( stands for $(",
    ),
    (
        "storage without its database",
        "  gateways:",
        "  storage: {type: PostgreSQL}\n  gateways:",
        "10:19 type: PostgreSQL needs postgresql.urlSecretRef, the Secret with the URL of the database",
    ),
    (
        "replicas string",
        "  gateways:",
        "  replicas: '2'\n  gateways:",
        "10:13 replicas must be a number: write 2 without quotes",
    ),
    (
        "object defined twice",
        "  name: nightly",
        "  name: nightly2\n  namespace: shop\nspec:\n  clientRef:\n    name: backend\n  scopes: [orders.read]\n---\napiVersion: symbolon.dev/v1alpha1\nkind: ServiceAccessToken\nmetadata:\n  name: nightly2",
        "55:9 ServiceAccessToken shop/nightly2 is already defined in <stdin>:45: remove one",
    ),
    (
        "scope value builtin",
        "  allowedNamespaces:",
        "  value: profile\n  allowedNamespaces:",
        "23:10 this scope value is built in, and every Identity has it: choose another",
    ),
    (
        "spec below metadata",
        "  namespace: shop\nspec:\n  clientRef:\n    name: backend\n  scopes: [orders.read]\n  lifetime: 720h\n",
        "  namespace: shop\n  spec:\n    clientRef:\n      name: backend\n    scopes: [orders.read]\n    lifetime: 720h\n",
        "47:3 spec belongs beside metadata and not in it: indent it and the fields below it by two spaces less",
    ),
    (
        "fields at root",
        "spec:\n  clientRef:\n    name: backend\n  scopes: [orders.read]\n  lifetime: 720h\n",
        "spec:\nclientRef:\n  name: backend\nscopes: [orders.read]\nlifetime: 720h\n",
        "48:1 `clientRef` belongs to `spec`, which is empty: indent it and the fields below it by two spaces more",
    ),
    (
        "name beside metadata",
        "metadata:\n  name: nightly\n  namespace: shop\nspec:\n  clientRef",
        "metadata:\nname: nightly\nnamespace: shop\nspec:\n  clientRef",
        "45:1 `name` belongs to `metadata`, which is empty: indent it and the fields below it by two spaces more",
    ),
    (
        "gateway as object",
        "  gateways:\n    - name: api\n      audience: https://id.example.com/main\n      scopes: [orders.read]\n",
        "  gateways:\n    name: api\n    audience: https://id.example.com/main\n    scopes: [orders.read]\n",
        "10:3 gateways must be a list: begin each item with '- '",
    ),
    (
        "gateway fields misindented",
        "    - name: api\n      audience: https://id.example.com/main\n",
        "    - name: api\n    audience: https://id.example.com/main\n",
        "12:5 this line is a part of the list item above, if it is indented by two spaces more: otherwise begin an item with '- '",
    ),
    (
        "label number",
        "  name: nightly\n",
        "  name: nightly\n  labels: {team: 5}\n",
        "46:18 a label value must be a string: put 5 in quotes",
    ),
    (
        "string spec",
        "spec:\n  clientRef:\n    name: backend\n  scopes: [orders.read]\n  lifetime: 720h\n",
        "spec: backend\n",
        "47:7 spec must be an object with the fields clientRef, description, expiresAt, lifetime, neverExpires, revoked, rotation, scopes, secret, not a string",
    ),
    (
        "case of field",
        "  lifetime: 720h",
        "  Lifetime: 720h",
        "51:3 unknown field `Lifetime`: did you mean `lifetime`?",
    ),
    (
        "case of kind",
        "kind: ServiceAccessToken",
        "kind: serviceaccesstoken",
        "43:7 `serviceaccesstoken` is not a kind of symbolon.dev: did you mean `ServiceAccessToken`?",
    ),
    (
        "plural kind",
        "kind: OAuthClient",
        "kind: OAuthClients",
        "28:7 `OAuthClients` is not a kind of symbolon.dev: did you mean `OAuthClient`?",
    ),
    (
        "kind of k8s",
        "kind: ServiceAccessToken",
        "kind: ServiceAccountToken",
        "43:7 `ServiceAccountToken` is not a kind of symbolon.dev: did you mean `ServiceAccessToken`?",
    ),
    (
        "scopeRef",
        "  scopes: [orders.read]\n  lifetime",
        "  scopes:\n    - name: orders.read\n  lifetime",
        "51:7 scopes must be a string, not an object",
    ),
    (
        "disabled: no",
        "  systemUser:",
        "  disabled: 'no'\n  systemUser:",
        "38:13 disabled must be true or false, not a string",
    ),
    (
        "allowedNamespaces list",
        "  allowedNamespaces:\n    from: List\n    names: [shop]\n",
        "  allowedNamespaces: [shop]\n",
        "23:3 allowedNamespaces must be an object: write {from: List, names: [shop]}",
    ),
    (
        "algorithms hs256",
        "  gateways:",
        "  signing: {algorithms: [HS256]}\n  gateways:",
        "10:26 `HS256` is not a value of algorithms: did you mean `RS256`? It is one of RS256, PS256, ES256, EdDSA",
    ),
    (
        "replicas with sqlite",
        "  gateways:",
        "  storage: {type: SQLite}\n  replicas: 2\n  gateways:",
        "10:19 storage.type: SQLite allows one pod, which writes the file: set replicas to 0 or 1 and remove autoscaling",
    ),
    (
        "namespace in clientRef",
        "  clientRef:\n    name: backend\n",
        "  clientRef:\n    name: backend\n    namespace: shop\n",
        "50:5 unknown field `namespace`: remove it, or use a release of Symbolon that knows it",
    ),
    (
        "quote closing missing",
        "  issuer: https://id.example.com/main",
        "  issuer: 'https://id.example.com/main",
        "7:11 this quote is not closed: write the same quote at the end of the value",
    ),
    (
        "identity broken",
        "kind: Identity",
        "kind: Identiy",
        "2:7 `Identiy` is not a kind of symbolon.dev: did you mean `Identity`?",
    ),
];

fn problems(manifest: &str) -> Vec<Value> {
    let now: Timestamp = "2026-06-01T00:00:00Z".parse().unwrap();
    let judged = [Manifest::read("<stdin>", manifest.as_bytes())];
    let world = World::new(Settings::default(), &[], &judged, now);
    let report = json::render(&findings::judge(&world, &[], &judged, now));
    report["problems"].as_array().unwrap().clone()
}

/// Returns a finding as the table writes it.
fn told(problem: &Value) -> String {
    let text = |field: &str| problem[field].as_str().unwrap().to_owned();
    let help = problem.get("help").map(|_| format!(" / {}", text("help")));
    format!(
        "{}:{} {}{}",
        problem["line"],
        problem["column"],
        text("message"),
        help.unwrap_or_default()
    )
}

#[test]
fn each_mistake_is_one_finding_that_says_what_to_write() {
    assert_eq!(problems(GOOD), [] as [Value; 0]);
    let mut wrong = Vec::new();
    for (name, written, instead, expected) in MISTAKES {
        assert_eq!(GOOD.matches(written).count().min(1), 1, "{name}");
        let problems = problems(&GOOD.replacen(written, instead, 1));
        let (notes, found): (Vec<_>, Vec<_>) =
            problems.iter().partition(|it| it["severity"] == "note");
        let found: Vec<String> = found.into_iter().map(told).collect();
        if found != [expected] {
            wrong.push(format!(
                "{name}:\n  expected {expected}\n  found {found:#?}"
            ));
        }
        let place: Vec<&str> = expected.split([':', ' ']).take(2).collect();
        for note in notes {
            let cause = [&note["cause"]["line"], &note["cause"]["column"]];
            if cause.map(ToString::to_string) != *place {
                wrong.push(format!("{name}: the cause of {note} is not {place:?}"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn no_mistake_is_in_the_table_twice() {
    let names: BTreeSet<&str> = MISTAKES.iter().map(|(name, ..)| *name).collect();
    assert_eq!(names.len(), MISTAKES.len());
}

/// A suggestion that equals what is written helps no one.
#[test]
fn no_suggestion_is_what_is_written_already() {
    for (name, written, instead, _) in MISTAKES {
        let manifest = GOOD.replacen(written, instead, 1);
        for problem in problems(&manifest) {
            let number = |field: &str| usize::try_from(problem[field].as_u64().unwrap()).unwrap();
            let line = manifest.lines().nth(number("line") - 1).unwrap();
            let is_one_line = problem["line"] == problem["endLine"];
            let end = if is_one_line {
                number("endColumn") - 1
            } else {
                usize::MAX
            };
            let start = number("column") - 1;
            let place: String = line.chars().take(end).skip(start).collect();
            let place = place.trim_matches(['"', '\'']);
            for text in [&problem["message"], &problem["help"]] {
                let text = text.as_str().unwrap_or_default();
                let suggested = text.split("did you mean `").nth(1);
                let suggested = suggested.and_then(|rest| rest.split('`').next());
                assert_ne!(suggested, Some(place), "{name}: {text}");
            }
        }
    }
}
