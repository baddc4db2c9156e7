//! The parameter `claims` (OpenID Connect Core section 5.5): single claims that a client asks for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::oauth::OAuthError;

/// The longest parameter, in bytes.
const MAX_LENGTH: usize = 4096;
/// The largest number of claims that one request may name.
const MAX_CLAIMS: usize = 64;

const MALFORMED: OAuthError = OAuthError::invalid_request(
    "claims must be a JSON object with the members id_token and userinfo",
);

/// The claims that a request names, by the place where the client wants them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimsRequest {
    /// Claims for the ID token.
    #[serde(default)]
    pub id_token: BTreeMap<String, RequestedClaim>,
    /// Claims for the userinfo endpoint.
    #[serde(default)]
    pub userinfo: BTreeMap<String, RequestedClaim>,
}

/// What a grant keeps about claims.
#[derive(Serialize)]
struct Stored<'a> {
    #[serde(flatten)]
    request: &'a ClaimsRequest,
    /// What the person allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed: Option<&'a [String]>,
}

/// A requested claim, and what the client asks of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestedClaim {
    /// Whether the client says that it needs the claim.
    #[serde(default)]
    pub essential: bool,
    /// The values that the client accepts, the preferred first. If empty, any value.
    #[serde(default)]
    pub values: Vec<Value>,
}

impl ClaimsRequest {
    /// Parses the parameter.
    ///
    /// # Errors
    /// `invalid_request` if it is not a JSON object of this form, or too large.
    pub fn parse(text: &str) -> Result<Self, OAuthError> {
        if text.len() > MAX_LENGTH {
            return Err(OAuthError::invalid_request("claims is too long"));
        }
        let sent: Map<String, Value> = serde_json::from_str(text).map_err(|_| MALFORMED)?;
        let request = Self {
            id_token: requested_claims(sent.get("id_token"))?,
            userinfo: requested_claims(sent.get("userinfo"))?,
        };
        if request.id_token.len() + request.userinfo.len() > MAX_CLAIMS {
            return Err(OAuthError::invalid_request("claims names too many claims"));
        }
        Ok(request)
    }

    /// Returns the text in which a grant keeps the request, and the names of the claims that it may release; `None` if
    /// there is neither.
    ///
    /// # Errors
    /// None in practice: every member serializes.
    pub fn to_stored(
        &self,
        allowed: Option<&[String]>,
    ) -> Result<Option<String>, serde_json::Error> {
        let is_empty = self.id_token.is_empty() && self.userinfo.is_empty();
        let stored = Stored {
            request: self,
            allowed,
        };
        (!is_empty || allowed.is_some())
            .then(|| serde_json::to_string(&stored))
            .transpose()
    }

    /// Returns the names of the claims that a grant may release, from the text that it keeps; `None` for any. A text
    /// that cannot be read allows none.
    pub fn allowed_of_stored(text: Option<&str>) -> Option<Vec<String>> {
        #[derive(Deserialize)]
        struct Kept {
            allowed: Option<Vec<String>>,
        }
        let kept: Result<Kept, _> = serde_json::from_str(text?);
        kept.map_or_else(|_| Some(Vec::new()), |kept| kept.allowed)
    }

    /// Reads the text that a grant keeps.
    ///
    /// # Errors
    /// The text is not one of [`ClaimsRequest::to_stored`].
    pub fn from_stored(text: Option<&str>) -> Result<Self, serde_json::Error> {
        text.map_or_else(|| Ok(Self::default()), serde_json::from_str)
    }

    /// Returns the values of `acr` of which the ID token must have one; `None` if the client does not declare this
    /// essential (section 5.5.1.1).
    pub fn essential_acr(&self) -> Option<impl Iterator<Item = &str>> {
        let acr = self.id_token.get("acr")?;
        let values = acr.values.iter().filter_map(Value::as_str);
        (acr.essential && !acr.values.is_empty()).then_some(values)
    }

    /// Returns the subject of the person who must have signed in (section 5.5.1).
    pub fn subject(&self) -> Option<&str> {
        self.id_token.get("sub")?.values.first()?.as_str()
    }
}

/// Reads one member of the parameter. Its unknown members are ignored (section 5.5).
fn requested_claims(sent: Option<&Value>) -> Result<BTreeMap<String, RequestedClaim>, OAuthError> {
    match sent {
        None | Some(Value::Null) => Ok(BTreeMap::new()),
        Some(Value::Object(sent)) => sent
            .iter()
            .map(|(name, sent)| Ok((name.clone(), requested_claim(sent)?)))
            .collect(),
        Some(_) => Err(MALFORMED),
    }
}

/// Reads the request for one claim (section 5.5.1).
fn requested_claim(sent: &Value) -> Result<RequestedClaim, OAuthError> {
    let sent = match sent {
        Value::Null => return Ok(RequestedClaim::default()),
        Value::Object(sent) => sent,
        _ => return Err(MALFORMED),
    };
    let essential = match sent.get("essential") {
        None => false,
        Some(essential) => essential.as_bool().ok_or(MALFORMED)?,
    };
    let several = match sent.get("values") {
        None => &[][..],
        Some(values) => values.as_array().ok_or(MALFORMED)?,
    };
    Ok(RequestedClaim {
        essential,
        values: sent
            .get("value")
            .into_iter()
            .chain(several)
            .cloned()
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_example_of_the_specification_is_read() {
        let text = json!({
            "userinfo": {"given_name": {"essential": true}, "nickname": null, "http://example.info/claims/groups": null},
            "id_token": {"auth_time": {"essential": true}, "acr": {"values": ["urn:mace:incommon:iap:silver"]}},
        });
        let request = ClaimsRequest::parse(&text.to_string()).unwrap();
        assert!(request.userinfo["given_name"].essential);
        assert_eq!(request.userinfo["nickname"], RequestedClaim::default());
        assert!(request.id_token["auth_time"].essential);
        assert!(request.essential_acr().is_none(), "voluntary");
    }

    #[test]
    fn a_grant_keeps_the_request_and_nothing_for_none() {
        let text = json!({"userinfo": {"email": {"essential": true}}, "id_token": {"acr": {"values": ["a", 1]}, "name": null}});
        for text in [text.to_string(), "{}".to_owned()] {
            let request = ClaimsRequest::parse(&text).unwrap();
            let stored = request.to_stored(None).unwrap();
            assert_eq!(stored.is_none(), text == "{}");
            assert_eq!(
                ClaimsRequest::from_stored(stored.as_deref()).unwrap(),
                request
            );
        }
        assert!(ClaimsRequest::from_stored(Some("")).is_err());
    }

    #[test]
    fn an_essential_acr_and_a_subject_are_demands() {
        let text = json!({"id_token": {"acr": {"essential": true, "values": ["a", "b"]}, "sub": {"value": "me"}}});
        let request = ClaimsRequest::parse(&text.to_string()).unwrap();
        assert_eq!(
            request.essential_acr().unwrap().collect::<Vec<_>>(),
            ["a", "b"]
        );
        assert_eq!(request.subject(), Some("me"));
    }

    #[rstest]
    #[case::empty("{}")]
    #[case::null_members(r#"{"id_token": null, "userinfo": null}"#)]
    #[case::unknown_members(
        r#"{"verified_claims": {"x": 1}, "id_token": {"email": {"purpose": "x"}}}"#
    )]
    fn what_is_unknown_is_ignored(#[case] text: &str) {
        assert!(ClaimsRequest::parse(text).is_ok());
    }

    #[rstest]
    #[case::no_json("email")]
    #[case::a_list("[]")]
    #[case::a_text("\"email\"")]
    #[case::a_list_of_claims(r#"{"id_token": ["email"]}"#)]
    #[case::a_claim_as_text(r#"{"id_token": {"email": "yes"}}"#)]
    #[case::a_claim_as_list(r#"{"id_token": {"email": []}}"#)]
    #[case::essential_as_text(r#"{"id_token": {"acr": {"essential": "true"}}}"#)]
    #[case::values_as_text(r#"{"id_token": {"acr": {"values": "a"}}}"#)]
    #[case::too_long(&format!(r#"{{"x": "{}"}}"#, "a".repeat(MAX_LENGTH)))]
    fn another_form_is_refused(#[case] text: &str) {
        assert!(ClaimsRequest::parse(text).is_err());
    }

    #[test]
    fn the_number_of_claims_is_bounded() {
        let names = |n: usize| (0..n).map(|n| (format!("c{n}"), Value::Null));
        let text = |n| json!({"userinfo": Value::Object(names(n).collect())}).to_string();
        assert!(ClaimsRequest::parse(&text(MAX_CLAIMS)).is_ok());
        assert!(ClaimsRequest::parse(&text(MAX_CLAIMS + 1)).is_err());
        // Both members count together.
        let both = |n, more| {
            let members: [Value; 2] = [n, more].map(|n| Value::Object(names(n).collect()));
            json!({"id_token": members[0], "userinfo": members[1]}).to_string()
        };
        let half = MAX_CLAIMS / 2;
        assert!(ClaimsRequest::parse(&both(half, half)).is_ok());
        assert!(ClaimsRequest::parse(&both(half, half + 1)).is_err());
    }

    #[test]
    fn the_length_is_bounded() {
        let text = |length: usize| format!(r#"{{"x":"{}"}}"#, "a".repeat(length - 8));
        assert!(ClaimsRequest::parse(&text(MAX_LENGTH)).is_ok());
        assert!(ClaimsRequest::parse(&text(MAX_LENGTH + 1)).is_err());
    }
}
