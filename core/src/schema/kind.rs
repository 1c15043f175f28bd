//! The kinds of object that a schema is made of.

use serde::{Deserialize, Serialize};

#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Kind {
    Schema,
    Table,
    ForeignTable,
    View,
    MaterializedView,
    Column,
    Constraint,
    Index,
    Sequence,
    Trigger,
    Rule,
    Policy,
    Statistics,
    Function,
    Procedure,
    Aggregate,
    Enum,
    Domain,
    CompositeType,
    RangeType,
    BaseType,
    Operator,
    OperatorClass,
    OperatorFamily,
    Collation,
    Conversion,
    TextSearchConfiguration,
    TextSearchDictionary,
    TextSearchParser,
    TextSearchTemplate,
    Cast,
    Transform,
    Language,
    AccessMethod,
    EventTrigger,
    Extension,
    ForeignDataWrapper,
    Server,
    UserMapping,
    Publication,
    PublishedTable,
    PublishedSchema,
    Subscription,
    DefaultPrivileges,
    /// Privileges on a function of the server's own that are not what they were from the start.
    SystemFunction,
    /// The same of a relation of the server's own.
    SystemRelation,
}

/// How an object of a kind is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Naming {
    /// `schema.name`; what its columns and constraints belong to.
    Relation,
    /// `schema.relation.name`
    OfRelation,
    /// `schema.name`
    InSchema,
    /// `schema.name(…)`: the name was quoted where it was read.
    WithSignature,
    /// `name (what it is about)`
    About,
    /// `name`
    Alone,
}

impl Kind {
    pub const ALL: &'static [Kind] = <Kind as strum::VariantArray>::VARIANTS;

    pub fn as_str(self) -> &'static str {
        self.into()
    }

    pub fn find(name: &str) -> Option<Self> {
        name.parse().ok()
    }

    /// Whether it is looked at where only some schemas are.
    pub fn is_of_schemas(self) -> bool {
        use Kind::*;
        match self.naming() {
            Naming::Alone => matches!(self, Schema | Extension),
            Naming::About => self == DefaultPrivileges,
            _ => true,
        }
    }

    pub(super) fn naming(self) -> Naming {
        use Kind::*;
        match self {
            Table | ForeignTable | View | MaterializedView | Sequence => Naming::Relation,
            Column | Constraint | Index | Trigger | Rule | Policy => Naming::OfRelation,
            Function | Procedure | Aggregate | Operator | OperatorClass | OperatorFamily => {
                Naming::WithSignature
            }
            PublishedTable | PublishedSchema | DefaultPrivileges => Naming::About,
            Statistics | Collation | Conversion => Naming::InSchema,
            Enum | Domain | CompositeType | RangeType | BaseType => Naming::InSchema,
            TextSearchConfiguration | TextSearchDictionary | TextSearchParser | TextSearchTemplate => {
                Naming::InSchema
            }
            Schema | Cast | Transform | Language | AccessMethod | EventTrigger | Extension => Naming::Alone,
            ForeignDataWrapper | Server | UserMapping | Publication | Subscription => Naming::Alone,
            SystemFunction | SystemRelation => Naming::Alone,
        }
    }
}
