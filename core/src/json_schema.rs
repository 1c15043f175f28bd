//! What a JSON Schema asks of the one who compiles it.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// Subschemas that may be followed for all keywords `unevaluated…` together: about half a second's work.
const MAX_FOLLOWED: usize = 50_000;
/// Subschemas that may be followed into one another: each takes a few kilobytes of the stack.
const MAX_DEPTH: usize = 256;

type Object = Map<String, Value>;

/// Whether the keywords `unevaluatedProperties` and `unevaluatedItems` lead to more subschemas than can be followed.
///
/// Which properties are evaluated is told by the subschemas that apply in place, beside the keyword, behind references
/// too. A compiler follows them anew at every place that refers to them: a few dozen definitions, each with two
/// references to the next, are more than any memory holds.
pub fn is_too_complex(schema: &Value) -> bool {
    let mut starts = Vec::new();
    let mut document = Document { root: schema, anchors: HashMap::new(), resources: HashMap::new() };
    document.index(schema, schema, &mut starts);
    let mut walk = Walk { document: &document, followed: 0, path: Vec::new() };
    !starts.into_iter().all(|(subschema, resource)| walk.follow(subschema, resource))
}

/// A subschema and the resource that its references start from.
type Place<'a> = (&'a Object, &'a Value);

struct Document<'a> {
    root: &'a Value,
    anchors: HashMap<&'a str, Vec<Place<'a>>>,
    /// By the last part of their `$id`.
    resources: HashMap<&'a str, Vec<&'a Value>>,
}

impl<'a> Document<'a> {
    /// Finds what references may name, and the subschemas with a keyword `unevaluated…`. What only looks like a
    /// subschema, in an `enum` for instance, is counted with them.
    fn index(&mut self, value: &'a Value, resource: &'a Value, starts: &mut Vec<Place<'a>>) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.index(item, resource, starts)),
            Value::Object(object) => {
                let id = object.get("$id").and_then(Value::as_str);
                let resource = if id.is_some_and(|id| !id.starts_with('#')) { value } else { resource };
                if let Some(id) = id {
                    self.resources.entry(last_part(id)).or_default().push(value);
                }
                for anchor in ["$anchor", "$dynamicAnchor"] {
                    if let Some(name) = object.get(anchor).and_then(Value::as_str) {
                        self.anchors.entry(name).or_default().push((object, resource));
                    }
                }
                if object.contains_key("unevaluatedProperties") || object.contains_key("unevaluatedItems") {
                    starts.push((object, resource));
                }
                object.values().for_each(|value| self.index(value, resource, starts));
            }
            _ => {}
        }
    }

    /// What a reference in `resource` may lead to. A dynamic one depends on the way to it, so all that it may mean count.
    fn targets(&self, reference: &str, resource: &'a Value) -> Vec<Place<'a>> {
        let (base, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let resources = match base {
            "" => vec![resource],
            _ => self.resources.get(last_part(base)).cloned().unwrap_or_default(),
        };
        if !fragment.is_empty() && !fragment.starts_with('/') {
            return self.anchors.get(fragment).cloned().unwrap_or_default();
        }
        let in_resource = |resource: &'a Value| {
            let target = resource.pointer(fragment).or_else(|| self.root.pointer(fragment))?;
            Some((target.as_object()?, resource))
        };
        resources.into_iter().filter_map(in_resource).collect()
    }
}

fn last_part(uri: &str) -> &str {
    uri.rsplit(['/', ':']).next().unwrap_or(uri)
}

struct Walk<'w, 'a> {
    document: &'w Document<'a>,
    followed: usize,
    path: Vec<&'a Object>,
}

impl<'a> Walk<'_, 'a> {
    /// Whether all that applies in place of `subschema` could be followed.
    fn follow(&mut self, subschema: &'a Object, resource: &'a Value) -> bool {
        if self.path.iter().any(|above| std::ptr::eq(*above, subschema)) {
            return true;
        }
        self.followed += 1;
        if self.followed > MAX_FOLLOWED || self.path.len() >= MAX_DEPTH {
            return false;
        }
        self.path.push(subschema);
        let in_place = in_place(subschema).into_iter().map(|inner| (inner, resource));
        let referred = ["$ref", "$dynamicRef", "$recursiveRef"]
            .iter()
            .filter_map(|keyword| subschema.get(*keyword).and_then(Value::as_str))
            .flat_map(|reference| self.document.targets(reference, resource));
        let all: Vec<Place> = in_place.chain(referred).collect();
        let done = all.into_iter().all(|(inner, resource)| self.follow(inner, resource));
        self.path.pop();
        done
    }
}

/// The subschemas of `subschema` that look at the same value.
fn in_place(subschema: &Object) -> Vec<&Object> {
    let lists = ["allOf", "anyOf", "oneOf"]
        .iter()
        .filter_map(|keyword| subschema.get(*keyword)?.as_array())
        .flatten();
    let single = ["if", "then", "else", "not"].iter().filter_map(|keyword| subschema.get(*keyword));
    let dependent = subschema.get("dependentSchemas").and_then(Value::as_object);
    let dependent = dependent.into_iter().flat_map(Object::values);
    lists.chain(single).chain(dependent).filter_map(Value::as_object).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Definitions of which each refers to the next, `times` times.
    fn chain(length: usize, times: usize, reference: impl Fn(usize) -> Value) -> Value {
        let definition = |place: usize| match place + 1 < length {
            true => json!({"allOf": vec![reference(place + 1); times], "$anchor": format!("d{place}")}),
            false => json!({"type": "object", "$anchor": format!("d{place}")}),
        };
        let definitions: Object = (0..length).map(|place| (format!("d{place}"), definition(place))).collect();
        json!({"allOf": [reference(0)], "unevaluatedProperties": false, "$defs": definitions})
    }

    fn by_pointer(place: usize) -> Value {
        json!({"$ref": format!("#/$defs/d{place}")})
    }

    #[test]
    fn what_doubles_with_every_reference_is_too_much() {
        assert!(!is_too_complex(&chain(8, 2, by_pointer)));
        for length in [20, 40, 100] {
            assert!(is_too_complex(&chain(length, 2, by_pointer)));
            assert!(is_too_complex(&chain(length, 2, |place| json!({"$ref": format!("#d{place}")}))));
            assert!(is_too_complex(&chain(length, 2, |place| json!({"$dynamicRef": format!("#d{place}")}))));
        }
    }

    #[test]
    fn a_long_way_through_references_is_too_much() {
        assert!(!is_too_complex(&chain(100, 1, by_pointer)));
        assert!(is_too_complex(&chain(1_000, 1, by_pointer)));
        let mut without = chain(1_000, 1, by_pointer);
        without.as_object_mut().unwrap().remove("unevaluatedProperties");
        assert!(!is_too_complex(&without), "nothing has to be followed");
    }

    #[test]
    fn references_are_followed_within_their_resource() {
        let mut inner = chain(40, 2, by_pointer);
        inner["$id"] = "https://example.org/inner".into();
        assert!(is_too_complex(
            &json!({"$id": "https://example.org/outer", "$defs": {"inner": inner.clone()}})
        ));
        inner.as_object_mut().unwrap().remove("unevaluatedProperties");
        let outer = json!({"$ref": "inner", "unevaluatedItems": false, "$defs": {"inner": inner}});
        assert!(is_too_complex(&outer));
    }

    #[test]
    fn what_refers_to_itself_ends() {
        for reference in ["$ref", "$dynamicRef", "$recursiveRef"] {
            let tree = json!({
                "$dynamicAnchor": "node", "$id": "https://example.org/tree",
                "properties": {"children": {"items": {reference: "#"}}}, "anyOf": [{reference: "#"}, {"$ref": "tree"}, {"$ref": "#node"}],
                "unevaluatedProperties": false, "unevaluatedItems": {"$ref": "#/nowhere"}
            });
            assert!(!is_too_complex(&tree));
        }
        for odd in
            [json!(true), json!(null), json!({"$ref": 1, "allOf": {}, "unevaluatedItems": 1, "$id": "#"})]
        {
            assert!(!is_too_complex(&odd));
        }
    }
}
