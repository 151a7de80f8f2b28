//! What is listed by hand: the classes of bugs that the judge must see, each as one mutant, and the
//! mutants that are argued to be equivalent.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::sites::{Form, Site};

/// Within so many seeds a class is rejected by one of its properties.
pub const CLASS_SEEDS: u64 = 64;

/// The classes.
const CLASSES: &str = include_str!("../classes.toml");
/// The mutants that are argued to be equivalent.
const EQUIVALENTS: &str = include_str!("../equivalents.toml");

/// How the text of a class is switched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Switched {
    #[default]
    Expression,
    Statement,
}

/// A bug of a kind that nothing but a test for it may ever have seen.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// Its name.
    pub name: String,
    /// What goes wrong.
    pub about: String,
    /// The file.
    pub file: String,
    #[serde(default)]
    form: Switched,
    /// A text that is found there once, where the original alone is not.
    #[serde(default)]
    pub within: String,
    /// The text as it is, found there once.
    pub original: String,
    /// The text in its place.
    pub mutated: String,
    /// The properties whose statements it breaks; one of them rejects it.
    pub properties: Vec<String>,
}

/// A mutant that nothing can tell from the original.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Equivalent {
    /// The file.
    pub file: String,
    /// The function, with what it belongs to.
    pub function: String,
    /// The text as it is.
    pub original: String,
    /// The text in its place.
    pub mutated: String,
    /// Why no input, fault or restart tells them apart.
    pub argument: String,
}

/// What is wrong with an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stale(pub String);

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Stale {}

/// Every class.
pub fn classes() -> Result<Vec<Class>, Stale> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Table {
        class: Vec<Class>,
    }
    let table: Table = toml::from_str(CLASSES).map_err(|error| Stale(format!("classes.toml: {error}")))?;
    Ok(table.class)
}

/// Every mutant that is argued to be equivalent.
pub fn equivalents() -> Result<Vec<Equivalent>, Stale> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Table {
        #[serde(default)]
        mutant: Vec<Equivalent>,
    }
    let table: Table = toml::from_str(EQUIVALENTS).map_err(|error| Stale(format!("equivalents.toml: {error}")))?;
    Ok(table.mutant)
}

impl Class {
    /// Where it stands in the tree at `root`.
    pub fn site(&self, root: &Path) -> Result<Site, Stale> {
        let text = std::fs::read_to_string(root.join(&self.file))
            .map_err(|error| Stale(format!("class {}: {}: {error}", self.name, self.file)))?;
        let around = if self.within.is_empty() { 0 } else { self.once(&text, &self.within)? };
        let text_around = if self.within.is_empty() { &text[..] } else { &self.within };
        let start = around + self.once(text_around, &self.original)?;
        Ok(Site {
            file: self.file.clone(),
            function: String::new(),
            line: text[..start].matches('\n').count() + 1,
            range: start..start + self.original.len(),
            operator: "class",
            form: match self.form {
                Switched::Expression => Form::Expression,
                Switched::Statement => Form::Statement,
            },
            original: self.original.clone(),
            mutated: self.mutated.clone(),
        })
    }

    /// Where `part` stands in `text`: once.
    fn once(&self, text: &str, part: &str) -> Result<usize, Stale> {
        let found: Vec<usize> = text.match_indices(part).map(|(at, _)| at).collect();
        match found[..] {
            [at] => Ok(at),
            _ => {
                let (name, file, times) = (&self.name, &self.file, found.len());
                Err(Stale(format!("class {name}: its text is found {times} times in {file}, not once: {part}")))
            }
        }
    }
}

impl Equivalent {
    /// Whether it is about `site`.
    #[must_use]
    pub fn is(&self, site: &Site) -> bool {
        self.file == site.file
            && self.function == site.function
            && words(&self.original) == words(&site.original)
            && words(&self.mutated) == words(&site.mutated)
    }
}

/// A text without regard to how it is laid out.
fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use wyrdlog_sim::verdict::Property;

    fn root() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    #[test]
    fn every_class_is_found_in_the_product() {
        let classes = classes().expect("the table can be read");
        assert!(classes.len() >= 12);
        for class in classes {
            class.site(&root()).expect("its text is there");
        }
    }

    #[test]
    fn every_class_names_properties_that_are_checked() {
        for class in classes().expect("the table can be read") {
            assert!(!class.properties.is_empty(), "{}", class.name);
            for property in &class.properties {
                assert!(property.parse::<Property>().is_ok(), "{}: {property} is no property", class.name);
            }
        }
    }

    #[test]
    fn a_class_whose_text_is_gone_is_named() {
        let mut class = classes().expect("the table can be read").remove(0);
        (class.within, class.original) = (String::new(), "this text is nowhere".to_owned());
        let stale = class.site(&root()).expect_err("it is not there").to_string();
        assert!(stale.contains(&class.name) && stale.contains("0 times"), "{stale}");
    }

    #[test]
    fn every_equivalent_has_an_argument() {
        for equivalent in equivalents().expect("the table can be read") {
            assert!(equivalent.argument.split_whitespace().count() >= 8, "{equivalent:?}");
        }
    }
}
