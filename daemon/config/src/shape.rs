use crate::tree::Kind;

/// What a value must be. Reading, checking and the JSON schema all follow it.
pub(crate) enum Shape {
    /// Text; numbers and the like have to be quoted.
    Text,
    /// Text that no message and no excerpt shows.
    Secret,
    /// Text, or any other scalar as it is written (`8080`, `true`, `2g`).
    Scalar,
    /// `true` or `false`.
    Flag,
    /// A number.
    Number,
    /// One of these words.
    Words(&'static [&'static str]),
    /// A list.
    List(&'static Shape),
    /// A map with known keys.
    Map(&'static Scope),
    /// A map with keys of the user's own.
    Named(&'static Shape),
    /// This, or null for none.
    OrNull(&'static Shape),
    /// A list or a map with keys of the user's own, of the same thing.
    Either(&'static Shape),
    /// One scalar, or a list of them.
    OneOrMore(&'static Shape),
    /// Of these, the one for what stands there: a single value, a list or a map.
    OneOf(&'static [Shape]),
    /// Anything.
    Any,
}

/// What Cordon does with a key.
pub(crate) enum Status {
    /// Honours it.
    Supported,
    /// Knows it and does not honour it yet; a help text or "".
    NotYet(&'static str),
    /// Ignores it on purpose, and why.
    Ignored(&'static str),
    /// Nobody honours it any more; what to do instead.
    Gone(&'static str),
}

/// One key of a scope. A name that ends with `*` stands for every name that begins so.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) status: Status,
    pub(crate) shape: Shape,
    /// For the JSON schema.
    pub(crate) about: &'static str,
}

/// The keys of one map.
pub(crate) struct Scope {
    /// Where the map stands, for people: `agents[].backend`.
    pub(crate) name: &'static str,
    pub(crate) keys: &'static [&'static [Key]],
    /// Keys that have to be there whatever the others say, for the JSON schema.
    pub(crate) required: &'static [&'static str],
}

impl Scope {
    pub(crate) fn all(&self) -> impl Iterator<Item = &'static Key> {
        self.keys.iter().flat_map(|group| group.iter())
    }

    pub(crate) fn find(&self, name: &str) -> Option<&'static Key> {
        self.all()
            .find(|k| k.name == name)
            .or_else(|| self.all().find(|k| k.name.strip_suffix('*').is_some_and(|p| name.starts_with(p))))
    }
}

impl Shape {
    /// Of several shapes the one for a node of this kind; otherwise itself.
    pub(crate) fn for_kind(&'static self, kind: &Kind) -> &'static Shape {
        let Self::OneOf(shapes) = self else { return self };
        let fits = |shape: &&Shape| match (kind, shape) {
            (Kind::List(_), Self::List(_) | Self::Either(_)) => true,
            (Kind::Map(_), Self::Map(_) | Self::Named(_) | Self::Either(_)) => true,
            (Kind::Scalar { .. }, Self::List(_) | Self::Map(_) | Self::Named(_) | Self::Either(_)) => false,
            (Kind::Scalar { .. }, _) => true,
            _ => false,
        };
        shapes.iter().find(fits).unwrap_or(self)
    }

    /// For "expected …, found …".
    pub(crate) fn expected(&self) -> String {
        match self {
            Self::Text | Self::Secret => "text".to_owned(),
            Self::Scalar => "text or a number".to_owned(),
            Self::Flag => "true or false".to_owned(),
            Self::Number => "a number".to_owned(),
            Self::Words(words) => format!("one of {}", words.join(", ")),
            Self::List(_) => "a list".to_owned(),
            Self::Map(_) | Self::Named(_) => "a map".to_owned(),
            Self::OrNull(inner) => format!("{} or null", inner.expected()),
            Self::Either(_) => "a list or a map".to_owned(),
            Self::OneOrMore(inner) => format!("{} or a list", inner.expected()),
            Self::OneOf(shapes) => shapes.iter().map(Self::expected).collect::<Vec<_>>().join(" or "),
            Self::Any => "anything".to_owned(),
        }
    }
}

pub(crate) const fn on(name: &'static str, shape: Shape, about: &'static str) -> Key {
    Key { name, status: Status::Supported, shape, about }
}

pub(crate) const fn later(name: &'static str) -> Key {
    Key { name, status: Status::NotYet(""), shape: Shape::Any, about: "" }
}

pub(crate) const fn later_but(name: &'static str, help: &'static str) -> Key {
    Key { name, status: Status::NotYet(help), shape: Shape::Any, about: "" }
}

/// Not honoured yet, with keys of its own whose spelling is checked all the same.
pub(crate) const fn later_with(name: &'static str, shape: Shape) -> Key {
    Key { name, status: Status::NotYet(""), shape, about: "" }
}

/// The same, with a help text.
pub(crate) const fn later_but_with(name: &'static str, shape: Shape, help: &'static str) -> Key {
    Key { name, status: Status::NotYet(help), shape, about: "" }
}

pub(crate) const fn ignored(name: &'static str, why: &'static str) -> Key {
    Key { name, status: Status::Ignored(why), shape: Shape::Any, about: "" }
}

pub(crate) const fn gone(name: &'static str, instead: &'static str) -> Key {
    Key { name, status: Status::Gone(instead), shape: Shape::Any, about: "" }
}
