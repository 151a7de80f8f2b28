//! What a run is expected to be: the hash that it had when it was recorded, and the commit of the
//! program that recorded it. A replay by another program may be another run, and says so.

use super::out::tell;
use crate::run::Verdict;

/// How the line begins that a schedule's file says it in.
const LINE: &str = "# Recorded at commit ";
/// What stands between the commit and the hash.
const BETWEEN: &str = " with hash ";

/// The commit that this program was built from.
pub(super) fn commit() -> &'static str {
    option_env!("WYRD_COMMIT").unwrap_or("unknown")
}

/// What a run was when it was recorded, as far as that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Recorded {
    /// The commit of the program.
    pub(super) commit: Option<String>,
    /// The hash of the run.
    pub(super) hash: Option<String>,
}

impl Recorded {
    /// What the text of a schedule's file says.
    pub(super) fn of_file(text: &str) -> Self {
        let Some(said) = text.lines().find_map(|line| line.strip_prefix(LINE)) else { return Recorded::default() };
        match said.split_once(BETWEEN) {
            Some((commit, hash)) => Recorded { commit: Some(commit.to_owned()), hash: Some(hash.to_owned()) },
            None => Recorded { commit: Some(said.to_owned()), hash: None },
        }
    }

    /// Says so, before the run, where another program than this one recorded it.
    pub(super) fn announce(&self) {
        let Some(recorded) = self.commit.as_deref().filter(|recorded| *recorded != commit()) else { return };
        let this = commit();
        tell!("recorded at commit {recorded}, replayed at commit {this}: it may be another run");
    }

    /// Says so, after the run, where it was another.
    pub(super) fn compare(&self, verdict: &Verdict) {
        let Some(expected) = self.hash.as_deref().filter(|hash| *hash != verdict.schedule_hash) else { return };
        tell!("this is another run than the recorded one: its hash is {}, not {expected}", verdict.schedule_hash);
    }
}

/// The line that a schedule's file says it in, with the hash of the run if it is known.
pub(super) fn line(hash: Option<&str>) -> String {
    let hash = hash.map(|hash| format!("{BETWEEN}{hash}")).unwrap_or_default();
    format!("{LINE}{}{hash}\n", commit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_what_it_was_recorded_as() {
        let text = format!("# A story.\n{LINE}fa91c46{BETWEEN}00ff\nversion = 1\n");
        let recorded = Recorded { commit: Some("fa91c46".to_owned()), hash: Some("00ff".to_owned()) };
        assert_eq!(Recorded::of_file(&text), recorded);
        assert_eq!(Recorded::of_file("version = 1\n"), Recorded::default());
        for hash in [None, Some("00ff")] {
            let read = Recorded::of_file(&line(hash));
            assert_eq!((read.commit.as_deref(), read.hash.as_deref()), (Some(commit()), hash));
        }
    }
}
