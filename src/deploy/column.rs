//! A column on its way: what is sent of it, how that arrives, and when two values of it are the same.

use opdb_core::compat::form::{Form, Side, base, is_builtin, text};
use opdb_core::compat::table::column_type;
use opdb_core::compat::types::{ColumnType, Family};
use opdb_core::schema::Fact;

use super::transformation::Transformation;
use crate::pg::name::identifier;

pub struct Column {
    pub name: String,
    from: ColumnType,
    to: ColumnType,
    /// How both servers hash it.
    form: Form,
    /// What is sent instead of the column, in the words of the table here.
    pub transformation: Option<Transformation>,
    /// The same where it is opdb's own: the key of a row that is referenced.
    looked_up: Option<String>,
    /// The other side draws its default from a sequence of its own.
    pub has_sequence_there: bool,
}

impl Column {
    pub fn new(local: &Fact, there: Option<&Fact>, transformation: Option<&Transformation>) -> Self {
        let from = column_type(local);
        let to = there.map_or_else(|| from.clone(), column_type);
        let has_sequence_there = there.is_some_and(is_drawn) && matches!(to.family(), Family::Integer { .. });
        Self {
            name: local.name().to_owned(),
            form: form(&from, &to),
            from,
            to,
            transformation: transformation.cloned(),
            looked_up: None,
            has_sequence_there,
        }
    }

    /// A column of the stage for a value that is looked up in another table here, where `local` is, and compared with
    /// `there` on the target.
    pub fn looked_up(name: String, local: &Fact, there: Option<&Fact>, lookup: String) -> Self {
        let column = Self::new(local, there, None);
        Self { name, looked_up: Some(lookup), has_sequence_there: false, ..column }
    }

    /// The type that it has on the target.
    pub fn type_there(&self) -> &str {
        &self.to.text
    }

    /// Whether two rows of the target, or of tables that keep its rows, have the same key, by the operator of the key's own
    /// type: one that somebody made for a type nearer to it, in a schema of the search_path, is not asked.
    pub fn same_key(&self, one: &str, other: &str) -> String {
        self.equals(one, &self.name, other)
    }

    /// The same for a column of another name in the first of two rows.
    pub fn equals(&self, one: &str, name: &str, other: &str) -> String {
        let (name, column) = (identifier(name), identifier(&self.name));
        let is_base_type = self.to.kind == "b" && !self.to.text.ends_with("[]");
        let schema = match self.to.text.split_once('.') {
            Some((schema, _)) if is_base_type && !is_builtin(&self.to.text) => schema,
            _ => "pg_catalog",
        };
        format!("{one}.{name} OPERATOR({schema}.=) {other}.{column}")
    }

    /// What is sent, of the type that both servers hash: of a row of the table here, which is called t.
    pub fn value(&self) -> String {
        let column = format!("t.{}", identifier(&self.name));
        let value = match (&self.transformation, &self.looked_up) {
            (Some(transformation), _) => format!("{}::{}", transformation.expression, self.from.text),
            (None, Some(lookup)) => lookup.clone(),
            (None, None) => column,
        };
        if self.is_cast() { format!("({value})::{}", base(&self.to)) } else { value }
    }

    pub const fn is_transformed(&self) -> bool {
        self.transformation.is_some()
    }

    /// Types that are written differently are converted here, as `verify_column_mapping` judges it. Where both are kinds of
    /// one thing (numbers, texts, moments), the digest tells whether the value survived on the other side.
    fn is_cast(&self) -> bool {
        is_cast(&self.from, &self.to)
    }

    /// Whether the value has the same bytes on both servers: one of the system's types, and none that is the number of an
    /// object. An access privilege has no bytes to send at all.
    pub fn has_binary_form(&self) -> bool {
        let sent = base(self.sent_type());
        let has_form = is_builtin(&sent) && !sent.starts_with("reg") && !sent.starts_with("aclitem");
        has_form && is_builtin(&base(&self.to))
    }

    /// Whether the other server has to convert what it read when it stores it.
    pub fn is_converted_there(&self) -> bool {
        let to = base(&self.to);
        is_builtin(&to) && self.read_type() != to
    }

    fn sent_type(&self) -> &ColumnType {
        if self.is_cast() { &self.to } else { &self.from }
    }

    /// The type that the values are read as there. From one of the system's types to another the server converts by itself
    /// when it stores them.
    pub fn read_type(&self) -> String {
        let (sent, to) = (base(self.sent_type()), base(&self.to));
        match (is_builtin(&sent), is_builtin(&to)) {
            (true, true) => sent,
            (_, true) => to,
            (_, false) => self.to.text.clone(),
        }
    }

    /// What stands for the value in the hash of a row. `value` is one as it is sent, or one of the column there.
    pub fn hash_parts(&self, side: Side, value: &str) -> Vec<String> {
        self.form.hash_parts(side, value)
    }

    /// A hash that is the same for the same value; `seed` is another one for each column of the key.
    pub fn bucket_hash(&self, side: Side, value: &str, seed: usize) -> String {
        self.form.bucket_hash(side, value, seed)
    }

    /// By text, byte for byte: json has no equality, 1.0 is not the 1.00 that was sent, and a collation may
    /// call an A an a.
    pub fn is_same(&self, one: &str, other: &str) -> String {
        let text_of = |alias: &str| {
            let column = format!("{alias}.{}", identifier(&self.name));
            format!("({}) COLLATE \"C\"", text(&column, &self.to))
        };
        format!("{} IS NOT DISTINCT FROM {}", text_of(one), text_of(other))
    }

    /// What of this column makes a stage another one.
    pub fn signature(&self) -> String {
        format!("{} {} {} {}", self.name, self.from.text, self.to.text, self.value())
    }
}

/// Whether a column's values come from a sequence.
pub fn is_drawn(column: &Fact) -> bool {
    column.text("identity").is_some_and(|identity| !identity.is_empty())
        || column.text("default").is_some_and(|default| default.starts_with("nextval("))
}

fn is_cast(from: &ColumnType, to: &ColumnType) -> bool {
    let (one, other) = (base(from), base(to));
    one != other && is_builtin(&one) && is_builtin(&other) && Form::new(from, to).is_by_text()
}

/// By what is written where the types are the same. Otherwise by what it means: 5.00 is 5.
fn form(from: &ColumnType, to: &ColumnType) -> Form {
    if is_cast(from, to) {
        Form::as_written(to, to)
    } else if from.text == to.text {
        Form::as_written(from, to)
    } else {
        Form::new(from, to)
    }
}
