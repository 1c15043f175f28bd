//! jsonb as jsonschema reads it in place, with a look at the stack and at interrupts on the way: schemas and documents
//! are nested as deep and compared as long as their authors like.

use std::borrow::Cow;

use jsonschema::JsonType;
use jsonschema::json::{Array, Json, Jsonb, JsonbNode, Node, NodeIdentity, Object};
use serde_json::Value;

use crate::pg::stack::check_recursion;

/// The representation.
pub struct Stored;

#[derive(Clone)]
pub struct StoredNode<'a>(JsonbNode<'a>);

pub struct StoredObject<'a>(<JsonbNode<'a> as Node<'a, Jsonb>>::Object);

pub struct StoredArray<'a>(<JsonbNode<'a> as Node<'a, Jsonb>>::Array);

impl<'a> StoredNode<'a> {
    /// The value of a root container.
    pub fn root(container: &'a [u8]) -> Self {
        Self(Jsonb::root(container))
    }
}

impl Json for Stored {
    type Node<'a> = StoredNode<'a>;
    type PreparedKey = <Jsonb as Json>::PreparedKey;
    type StringBuffer = <Jsonb as Json>::StringBuffer;

    const KEYS_PER_LOOKUP: usize = Jsonb::KEYS_PER_LOOKUP;

    fn prepare_key(key: &str) -> Self::PreparedKey {
        Jsonb::prepare_key(key)
    }

    fn with_string_node<T>(
        buffer: &mut Self::StringBuffer,
        string: &str,
        work: impl FnOnce(StoredNode<'_>) -> T,
    ) -> T {
        Jsonb::with_string_node(buffer, string, |node| work(StoredNode(node)))
    }
}

impl<'a> Node<'a, Stored> for StoredNode<'a> {
    type Object = StoredObject<'a>;
    type Array = StoredArray<'a>;
    type Number = <JsonbNode<'a> as Node<'a, Jsonb>>::Number;

    fn as_object(&self) -> Option<Self::Object> {
        check_recursion();
        self.0.as_object().map(StoredObject)
    }

    fn as_array(&self) -> Option<Self::Array> {
        check_recursion();
        self.0.as_array().map(StoredArray)
    }

    fn as_string(&self) -> Option<Cow<'a, str>> {
        check_recursion();
        self.0.as_string()
    }

    fn as_number(&self) -> Option<Self::Number> {
        check_recursion();
        self.0.as_number()
    }

    fn as_boolean(&self) -> Option<bool> {
        check_recursion();
        self.0.as_boolean()
    }

    fn is_null(&self) -> bool {
        check_recursion();
        self.0.is_null()
    }

    fn is_number(&self) -> bool {
        check_recursion();
        self.0.is_number()
    }

    fn is_string(&self) -> bool {
        check_recursion();
        self.0.is_string()
    }

    fn json_type(&self) -> JsonType {
        check_recursion();
        self.0.json_type()
    }

    fn string_length(&self) -> Option<u64> {
        check_recursion();
        self.0.string_length()
    }

    fn equals_value(&self, expected: &Value) -> bool {
        check_recursion();
        self.0.equals_value(expected)
    }

    fn to_value(&self) -> Cow<'a, Value> {
        self.0.to_value()
    }

    fn identity(&self) -> Option<NodeIdentity> {
        check_recursion();
        self.0.identity()
    }
}

impl<'a> Object<'a, Stored> for StoredObject<'a> {
    type Node = StoredNode<'a>;
    type MemberName = Cow<'a, str>;
    type MembersIter = Members<'a>;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, key: &<Stored as Json>::PreparedKey) -> Option<StoredNode<'a>> {
        self.0.get(key).map(StoredNode)
    }

    fn members(&self) -> Members<'a> {
        Members(self.0.members())
    }
}

pub struct Members<'a>(<<JsonbNode<'a> as Node<'a, Jsonb>>::Object as Object<'a, Jsonb>>::MembersIter);

impl<'a> Iterator for Members<'a> {
    type Item = (Cow<'a, str>, StoredNode<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(name, node)| (name, StoredNode(node)))
    }
}

impl<'a> Array<'a, Stored> for StoredArray<'a> {
    type Node = StoredNode<'a>;
    type ElementsIter = Elements<'a>;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn elements(&self) -> Elements<'a> {
        Elements(self.0.elements())
    }

    fn is_unique(&self) -> bool {
        self.0.is_unique()
    }
}

pub struct Elements<'a>(<<JsonbNode<'a> as Node<'a, Jsonb>>::Array as Array<'a, Jsonb>>::ElementsIter);

impl<'a> Iterator for Elements<'a> {
    type Item = StoredNode<'a>;

    fn next(&mut self) -> Option<StoredNode<'a>> {
        self.0.next().map(StoredNode)
    }
}
