//! The TOML file as settings with their lines. Finds every mistake that one file can hold before it gives up.

use super::{
    Mistake, Origin,
    schema::{self, Known},
};
use std::{borrow::Cow, collections::BTreeMap};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// A raw value that the file gave, with its line.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) origin: Origin,
    pub(super) value: Raw,
}

/// The forms of value that some built key takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Raw {
    Text(String),
    Number(i64),
    Texts(Vec<String>),
    Truth(bool),
}

/// One section: key to setting.
pub(super) type Section = BTreeMap<String, Setting>;

/// A whole file.
#[derive(Default)]
pub(super) struct File {
    pub(super) sections: BTreeMap<String, Section>,
    pub(super) mirrors: Vec<(Origin, Section)>,
    /// It could be read to its end.
    pub(super) is_whole: bool,
}

/// Reads `text`, collecting mistakes. Where it is no TOML, the first place is told, and what stands before it: all that
/// would be found behind it may be for want of a quote.
pub(super) fn read(text: &str, mistakes: &mut Vec<Mistake>) -> File {
    let text = &with_two_brackets(text, mistakes);
    let lines = Lines::new(text);
    let (root, errors) = DeTable::parse_recoverable(text);
    let start = |error: &toml::de::Error| error.span().map_or(0, |span| span.start);
    let first = errors.into_iter().min_by_key(start);
    let mut file = read_sections(&root, &lines, mistakes);
    if let Some(error) = &first {
        let origin = lines.origin(start(error));
        mistakes.retain(|mistake| mistake.origin < origin);
        mistakes.push(Mistake::new(origin, error.message().lines().next().unwrap_or("not valid TOML")));
    }
    file.is_whole = first.is_none();
    file
}

/// `[mirror]` beside `[[mirror]]` would keep all rules from being read.
fn with_two_brackets<'a>(text: &'a str, mistakes: &mut Vec<Mistake>) -> Cow<'a, str> {
    const ONE: &str = "[mirror]";
    let is_one = |line: &str| {
        let rest = line.trim_start().strip_prefix(ONE).map(str::trim);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('#'))
    };
    if !text.lines().any(is_one) {
        return Cow::Borrowed(text);
    }
    let mut mended = String::new();
    for (at, line) in text.lines().enumerate() {
        if is_one(line) {
            let text = "mirror rules are written as [[mirror]], with two brackets";
            mistakes.push(Mistake::new(Origin::Line(at + 1), text));
            mended += &line.replacen(ONE, "[[mirror]]", 1);
        } else {
            mended += line;
        }
        mended.push('\n');
    }
    Cow::Owned(mended)
}

fn read_sections(root: &Spanned<DeTable<'_>>, lines: &Lines, mistakes: &mut Vec<Mistake>) -> File {
    let mut file = File::default();
    for (name, value) in root.get_ref() {
        let origin = lines.origin(name.span().start);
        let name = name.get_ref().as_ref();
        match schema::section(name) {
            Known::NotBuilt => {
                mistakes.push(Mistake::new(origin, format!("section [{name}] is not built yet")));
                continue;
            }
            Known::Unknown => {
                mistakes.push(Mistake::new(
                    origin,
                    unknown("section", &format!("[{name}]"), schema::nearest_section(name)),
                ));
                continue;
            }
            Known::Built => {}
        }
        match (name, value.get_ref()) {
            ("mirror", DeValue::Array(tables)) => {
                for table in tables.iter() {
                    let origin = lines.origin(table.span().start);
                    match table.get_ref() {
                        DeValue::Table(table) => {
                            let section = read_section("mirror", table, lines, mistakes);
                            file.mirrors.push((origin, section));
                        }
                        _ => mistakes.push(Mistake::new(origin, "mirror rules are written as [[mirror]] sections")),
                    }
                }
            }
            ("mirror", _) => {
                mistakes.push(Mistake::new(origin, "mirror rules are written as [[mirror]], with two brackets"))
            }
            (_, DeValue::Table(table)) => {
                let section = read_section(name, table, lines, mistakes);
                file.sections.insert(name.to_owned(), section);
            }
            _ => mistakes
                .push(Mistake::new(origin, format!("`{name}` is a section: write [{name}] on a line of its own"))),
        }
    }
    file
}

fn read_section(name: &str, table: &DeTable<'_>, lines: &Lines, mistakes: &mut Vec<Mistake>) -> Section {
    let mut section = Section::new();
    read_keys(name, "", table, lines, &mut section, mistakes);
    section
}

/// Reads `table`, whose keys are known as `prefix` and their own name.
fn read_keys(
    name: &str,
    prefix: &str,
    table: &DeTable<'_>,
    lines: &Lines,
    section: &mut Section,
    mistakes: &mut Vec<Mistake>,
) {
    for (key, value) in table {
        let origin = lines.origin(key.span().start);
        let key = &format!("{prefix}{}", key.get_ref());
        if schema::is_table(name, key) {
            match value.get_ref() {
                DeValue::Table(inner) => read_keys(name, &format!("{key}."), inner, lines, section, mistakes),
                _ => mistakes.push(Mistake::new(origin, format!("`{key}` in [{name}] has keys of its own: `{key}.…`"))),
            }
            continue;
        }
        match schema::key(name, key) {
            Known::NotBuilt => mistakes.push(Mistake::new(origin, format!("`{key}` in [{name}] is not built yet"))),
            Known::Unknown => {
                let what = unknown("key", &format!("`{key}` in [{name}]"), schema::nearest_key(name, key));
                mistakes.push(Mistake::new(origin, what));
            }
            Known::Built => match raw(value) {
                Ok(value) => {
                    section.insert(key.to_owned(), Setting { origin, value });
                }
                Err(found) => {
                    mistakes.push(Mistake::new(origin, format!("`{key}` in [{name}] can't be {found}")));
                }
            },
        }
    }
}

fn raw(value: &Spanned<DeValue<'_>>) -> Result<Raw, String> {
    match value.get_ref() {
        DeValue::String(text) => Ok(Raw::Text(text.as_ref().to_owned())),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map(Raw::Number)
            .map_err(|_| "a number of that size".to_owned()),
        DeValue::Boolean(truth) => Ok(Raw::Truth(*truth)),
        DeValue::Array(items) => items
            .iter()
            .map(|item| item.get_ref().as_str().map(str::to_owned))
            .collect::<Option<Vec<_>>>()
            .map(Raw::Texts)
            .ok_or_else(|| "a list of anything but text".to_owned()),
        other => Err(format!("of type {}", other.type_str())),
    }
}

fn unknown(what: &str, name: &str, nearest: Option<&str>) -> String {
    match nearest {
        Some(nearest) => format!("unknown {what} {name}; did you mean `{nearest}`?"),
        None => format!("unknown {what} {name}"),
    }
}

/// Offsets of line starts.
struct Lines(Vec<usize>);

impl Lines {
    fn new(text: &str) -> Self {
        Self(std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect())
    }

    fn origin(&self, offset: usize) -> Origin {
        Origin::Line(self.0.partition_point(|&start| start <= offset))
    }
}
