//! Settings by name, from a properties file and from `--set KEY=VALUE`, which counts more.
//!
//! Every value knows where it came from, so that an error can name the line. Whoever reads
//! settings declares the names that it knows first: any other is an error, with a suggestion.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::failure::Failure;
use super::suggestion;

/// Files of this size are no configuration.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    File { path: PathBuf, line: usize },
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Flag => f.write_str("--set"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    value: String,
    origin: Origin,
}

/// See the module's doc.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    entries: BTreeMap<String, Entry>,
}

/// A name that may be set.
pub(super) struct Key {
    /// The name; a `*` at its end stands for anything.
    pub(super) name: &'static str,
    /// Why setting it has no effect here, if so.
    pub(super) without_effect: Option<&'static str>,
}

impl Key {
    /// A name whose value is used.
    pub(super) const fn used(name: &'static str) -> Self {
        Key { name, without_effect: None }
    }

    /// A name that configurations of other implementations carry, and that changes nothing here.
    pub(super) const fn without_effect(name: &'static str, why: &'static str) -> Self {
        Key { name, without_effect: Some(why) }
    }

    fn is(&self, name: &str) -> bool {
        match self.name.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == self.name,
        }
    }
}

impl Settings {
    /// The file's settings, if there is one, and over them the flags' (`KEY=VALUE` each).
    pub(super) fn read(file: Option<&Path>, flags: &[String]) -> Result<Self, Failure> {
        let mut settings = Settings::default();
        if let Some(path) = file {
            settings.read_file(path)?;
        }
        for flag in flags {
            let (key, value) = flag.split_once('=').ok_or_else(|| {
                Failure::unusable(format!("--set {flag}: expected KEY=VALUE, such as --set tickTime=2000"))
            })?;
            let entry = Entry { value: value.trim().to_owned(), origin: Origin::Flag };
            settings.entries.insert(key.trim().to_owned(), entry);
        }
        Ok(settings)
    }

    #[allow(clippy::disallowed_methods, reason = "a configuration is read before there is a node")]
    fn read_file(&mut self, path: &Path) -> Result<(), Failure> {
        let unreadable =
            |error| Failure::unusable(format!("cannot read the configuration {}: {error}", path.display()));
        if std::fs::metadata(path).map_err(unreadable)?.len() > FILE_BYTES_MAX {
            let what = format!("{} is larger than {FILE_BYTES_MAX} bytes: this is no configuration", path.display());
            return Err(Failure::unusable(what));
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        self.parse(&text, path)
    }

    fn parse(&mut self, text: &str, path: &Path) -> Result<(), Failure> {
        for (line, key, value) in lines(text) {
            let origin = Origin::File { path: path.to_owned(), line };
            let Some(value) = value else {
                return Err(Failure::unusable(format!("{origin}: '{key}' is no setting: expected KEY=VALUE")));
            };
            if let Some(before) = self.entries.insert(key.clone(), Entry { value, origin: origin.clone() }) {
                return Err(Failure::unusable(format!("{origin}: '{key}' is already set in {}", before.origin)));
            }
        }
        Ok(())
    }

    /// An error for the first name that is not among `known`; a warning in the log for each that
    /// has no effect.
    pub(super) fn check(&self, known: &[Key]) -> Result<(), Failure> {
        for (name, entry) in &self.entries {
            match known.iter().find(|key| key.is(name)) {
                None => return Err(unknown(name, &entry.origin, known)),
                Some(Key { without_effect: Some(why), .. }) => {
                    tracing::warn!(setting = %name, origin = %entry.origin, "has no effect: {why}");
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// The value of `name`, parsed; an error says what was expected.
    pub(super) fn get<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Failure> {
        let Some(entry) = self.entries.get(name) else { return Ok(None) };
        parse(&entry.value).map(Some).map_err(|problem| self.bad(name, &problem))
    }

    /// As [`Settings::get`], and an error if it is not set.
    pub(super) fn require<T>(&self, name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<T, Failure> {
        let missing =
            || Failure::unusable(format!("'{name}' is not set: set it in the --config file or with --set {name}=…"));
        self.get(name, parse)?.ok_or_else(missing)
    }

    /// An error about the value of `name`.
    pub(super) fn bad(&self, name: &str, problem: &str) -> Failure {
        let Some(entry) = self.entries.get(name) else { return Failure::unusable(format!("{name}: {problem}")) };
        Failure::unusable(format!("{}: {name}={}: {problem}", entry.origin, entry.value))
    }

    /// Names and values whose name starts with `prefix`, without it.
    pub(super) fn starting_with<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let stripped =
            move |(name, entry): (&'a String, &'a Entry)| Some((name.strip_prefix(prefix)?, entry.value.as_str()));
        self.entries.iter().filter_map(stripped)
    }
}

fn unknown(name: &str, origin: &Origin, known: &[Key]) -> Failure {
    let names = known.iter().map(|key| key.name.trim_end_matches(['*', '.'])).collect::<Vec<_>>();
    let meant = match suggestion::nearest(name, names.iter().copied()) {
        Some(near) => format!(": did you mean '{near}'?"),
        None => {
            let used: Vec<_> = known.iter().filter(|key| key.without_effect.is_none()).map(|key| key.name).collect();
            format!("; known are {}", used.join(", "))
        }
    };
    Failure::unusable(format!("{origin}: unknown setting '{name}'{meant}"))
}

/// The settings of a properties file: the number of the line where each begins, its name, and its
/// value unless the line has neither `=` nor `:`. A `\` at a line's end joins the next one to it.
fn lines(text: &str) -> Vec<(usize, String, Option<String>)> {
    let mut found = Vec::new();
    let mut numbered = text.lines().enumerate();
    while let Some((index, first)) = numbered.next() {
        let first = first.trim();
        if first.is_empty() || first.starts_with(['#', '!']) {
            continue;
        }
        let mut whole = first.to_owned();
        while let Some(joined) = whole.strip_suffix('\\') {
            let next = numbered.next().map_or("", |(_, next)| next.trim());
            whole = format!("{joined}{next}");
        }
        let (key, value) = match whole.split_once(['=', ':']) {
            Some((key, value)) => (key.trim().to_owned(), Some(value.trim().to_owned())),
            None => (whole, None),
        };
        found.push((index + 1, key, value));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[Key] =
        &[Key::used("tickTime"), Key::used("server.*"), Key::without_effect("syncLimit", "of no use")];

    fn settings(text: &str) -> Result<Settings, Failure> {
        let mut settings = Settings::default();
        settings.parse(text, Path::new("zoo.cfg")).map(|()| settings)
    }

    fn number(text: &str) -> Result<u64, String> {
        text.parse().map_err(|_| "expected a number".to_owned())
    }

    #[test]
    fn a_properties_file_is_read_as_java_reads_it() {
        let text = "# comment\n! another\n\n tickTime = 2000 \nserver.1=a:1:2\\\n  :x\nname : value=with=marks\n";
        let read = lines(text);
        let expected = [(4, "tickTime", "2000"), (5, "server.1", "a:1:2:x"), (7, "name", "value=with=marks")];
        let expected = expected.map(|(line, key, value)| (line, key.to_owned(), Some(value.to_owned())));
        assert_eq!(read, expected);
    }

    #[test]
    fn an_unknown_setting_is_an_error_with_its_place_and_a_suggestion() {
        let error = settings("# one\ntickTiem=1").and_then(|read| read.check(KNOWN)).expect_err("unknown");
        assert_eq!(error.to_string(), "zoo.cfg:2: unknown setting 'tickTiem': did you mean 'tickTime'?");
        let error = settings("quorum=1").and_then(|read| read.check(KNOWN)).expect_err("unknown");
        assert_eq!(error.to_string(), "zoo.cfg:1: unknown setting 'quorum'; known are tickTime, server.*");
        settings("server.7=x\nsyncLimit=5").and_then(|read| read.check(KNOWN)).expect("known");
    }

    #[test]
    fn a_setting_that_is_given_twice_or_has_no_value_is_an_error() {
        let error = settings("tickTime=1\ntickTime=2").expect_err("twice");
        assert_eq!(error.to_string(), "zoo.cfg:2: 'tickTime' is already set in zoo.cfg:1");
        let error = settings("tickTime").expect_err("no value");
        assert_eq!(error.to_string(), "zoo.cfg:1: 'tickTime' is no setting: expected KEY=VALUE");
    }

    #[test]
    fn a_bad_value_is_named_with_its_place() {
        let read = settings("tickTime=soon").expect("well-formed");
        let error = read.get("tickTime", number).expect_err("not a number");
        assert_eq!(error.to_string(), "zoo.cfg:1: tickTime=soon: expected a number");
    }

    #[test]
    fn flags_count_more_than_the_file() {
        let mut read = settings("tickTime=1").expect("well-formed");
        let flags = Settings::read(None, &["tickTime = 2".to_owned()]).expect("well-formed");
        read.entries.extend(flags.entries);
        assert_eq!(read.get("tickTime", number), Ok(Some(2)));
        assert!(Settings::read(None, &["tickTime".to_owned()]).is_err());
    }

    #[test]
    fn a_setting_that_is_required_and_missing_is_named() {
        let error = Settings::default().require("dataDir", number).expect_err("missing");
        assert!(error.to_string().contains("'dataDir' is not set"), "{error}");
    }
}
