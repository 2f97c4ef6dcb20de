//! JSON merge patch (RFC 7396) on text: what the patch does not name stays as it was written, to the last digit.

use std::collections::BTreeMap;

use payload_core::{Error, Reason, Result, limits};
use serde_json::value::RawValue;

/// An object with its members as they were written. Of two with one name, the last counts.
type Object<'a> = BTreeMap<String, &'a RawValue>;

/// What `patch` makes of `target`; of nothing, if there is no target yet.
pub(crate) fn merge(target: Option<&[u8]>, patch: &[u8]) -> Result<String> {
    let patch = parse(patch).map_err(|why| bad_patch(&why))?;
    let target = target
        .map(|target| parse(target).map_err(|why| not_json(&why)))
        .transpose()?;
    merge_values(target, patch)
}

/// The refusal of a patch to something else than JSON.
pub(crate) fn not_json(why: &str) -> Error {
    Error::new(
        Reason::MetadataNotJson,
        format!("a merge patch changes JSON, and the metadata is not: {why}"),
    )
}

fn bad_patch(why: &str) -> Error {
    Error::invalid(
        Reason::BadRequest,
        format!("the patch is not JSON that can be merged: {why}"),
    )
    .field("merge_patch")
}

/// Everything that recurses later has looked here how deep it will get.
fn parse(json: &[u8]) -> std::result::Result<&RawValue, String> {
    let depth = depth(json);
    if depth > limits::JSON_DEPTH_MAX {
        return Err(format!("it is nested {depth} deep, {} at most", limits::JSON_DEPTH_MAX));
    }
    serde_json::from_slice(json).map_err(|error| error.to_string())
}

/// How deep arrays and objects nest, found without recursion. Means nothing for what is not JSON.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// `MergePatch` of the RFC.
fn merge_values(target: Option<&RawValue>, patch: &RawValue) -> Result<String> {
    let Some(patch) = object(patch).map_err(|why| bad_patch(&why))? else {
        return Ok(patch.get().to_owned());
    };
    let target = target.map(object).transpose().map_err(|why| not_json(&why))?;
    let mut members = target.flatten().unwrap_or_default();
    let mut changed = BTreeMap::new();
    for (name, value) in patch {
        let old = members.remove(&name);
        if value.get() != "null" {
            changed.insert(name, merge_values(old, value)?);
        }
    }
    let kept = members.into_iter().map(|(name, value)| (name, value.get().to_owned()));
    Ok(write(&kept.chain(changed).collect()))
}

fn object(value: &RawValue) -> std::result::Result<Option<Object<'_>>, String> {
    match value.get().starts_with('{') {
        true => serde_json::from_str(value.get())
            .map(Some)
            .map_err(|error| error.to_string()),
        false => Ok(None),
    }
}

fn write(members: &BTreeMap<String, String>) -> String {
    let name = |name: &str| serde_json::to_string(name).expect("a text can be written as JSON");
    let members: Vec<String> = members
        .iter()
        .map(|(key, value)| format!("{}:{value}", name(key)))
        .collect();
    format!("{{{}}}", members.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(target: &str, patch: &str) -> String {
        merge(Some(target.as_bytes()), patch.as_bytes()).unwrap()
    }

    /// The examples of RFC 7396, appendix A.
    #[test]
    fn the_examples_of_the_rfc() {
        for (target, patch, wanted) in [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, "{}"),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
            (
                r#"{"a":{"b":"c"}}"#,
                r#"{"a":{"b":"d","c":null}}"#,
                r#"{"a":{"b":"d"}}"#,
            ),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
            (r#"{"a":"b"}"#, r#"["c"]"#, r#"["c"]"#),
            (r#"{"a":"foo"}"#, "null", "null"),
            (r#"{"a":"foo"}"#, r#""bar""#, r#""bar""#),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"a":1,"e":null}"#),
            (r#"[1,2]"#, r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
            ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        ] {
            assert_eq!(merged(target, patch), wanted, "{target} + {patch}");
        }
    }

    #[test]
    fn what_is_not_named_stays_to_the_last_digit() {
        let target = r#"{"n": 12345678901234567890.000000000000000001e+400, "s": "A\u0042", "x": {"y" : [1.0,  2]}}"#;
        let wanted =
            r#"{"a":0.10,"n":12345678901234567890.000000000000000001e+400,"s":"A\u0042","x":{"y" : [1.0,  2]}}"#;
        assert_eq!(merged(target, r#"{"a": 0.10}"#), wanted);
        assert_eq!(merged(r#"{"a":1,"a":2}"#, r#"{"b":3}"#), r#"{"a":2,"b":3}"#);
        assert_eq!(merged("{}", r#"{"a\u0062":"\"\\"}"#), r#"{"ab":"\"\\"}"#);
    }

    #[test]
    fn without_a_target_there_is_what_the_patch_says() {
        assert_eq!(merge(None, br#"{"a":{"b":null,"c":1}}"#).unwrap(), r#"{"a":{"c":1}}"#);
        assert_eq!(merge(None, b" [null] ").unwrap(), "[null]");
    }

    #[test]
    fn fault_49_json_that_is_none_or_too_deep_is_refused() {
        let deep = |open: &str, close: &str, depth: usize| open.repeat(depth) + "1" + &close.repeat(depth);
        let (arrays, objects) = (deep("[", "]", 10_000), deep("{\"a\":", "}", 10_000));
        let open = "[".repeat(60_000);
        for bad in [
            "",
            "{",
            "{\"a\":}",
            "{\"a\":1}x",
            "\u{feff}{}",
            "NaN",
            &arrays,
            &objects,
            &open,
            "\"\0\"",
        ] {
            let error = merge(None, bad.as_bytes()).unwrap_err();
            assert_eq!(error.reason(), Reason::BadRequest, "{}", &bad[..bad.len().min(20)]);
            let error = merge(Some(bad.as_bytes()), b"{}").unwrap_err();
            assert_eq!(error.reason(), Reason::MetadataNotJson);
        }
        assert_eq!(merge(None, b"\"\xff\"").unwrap_err().reason(), Reason::BadRequest);
        let deepest = deep("{\"a\":", "}", limits::JSON_DEPTH_MAX);
        assert_eq!(merged(&deepest, &deepest), deepest);
        assert!(merge(None, deep("[", "]", limits::JSON_DEPTH_MAX + 1).as_bytes()).is_err());
        assert_eq!(merged("{}", r#"{"a":"[[[\"[[["}"#), r#"{"a":"[[[\"[[["}"#);
    }
}
