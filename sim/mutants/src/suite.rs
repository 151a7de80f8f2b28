//! One build of many mutants: those of the classes, and those that a seed draws.
//!
//! What the compiler refuses is replaced by the next of the draw. Which ones were refused is kept
//! beside the copy, by the sources' digest, so that a second build of the same seed is the first.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};

use crate::compile::{self, Build};
use crate::draw::Draw;
use crate::listed::{self, Class};
use crate::schemata::Edit;
use crate::sites::{Offer, Site};
use crate::tree;

/// The number of the first class; drawn mutants have theirs from 1.
pub const CLASSES_FROM: u32 = 1_000_000;

/// A trouble that ends the command.
pub type Trouble = Box<dyn std::error::Error + Send + Sync>;

/// What is built.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The tree.
    pub root: PathBuf,
    /// The seed of the draw.
    pub seed: u64,
    /// How many mutants are drawn.
    pub count: usize,
}

/// A mutant of the build.
#[derive(Clone, Debug)]
pub struct Mutant {
    /// Its number.
    pub id: u32,
    /// The change.
    pub site: Site,
    /// The class that it stands for.
    pub class: Option<Class>,
}

/// The build.
#[derive(Clone, Debug)]
pub struct Suite {
    /// The copy.
    pub tree: PathBuf,
    /// Where cargo builds it.
    pub target: PathBuf,
    /// Every mutant, by number.
    pub mutants: Vec<Mutant>,
    /// How many of those drawn the compiler refused.
    pub refused: usize,
    /// A digest of the copy.
    pub digest: u64,
    /// The program that judges a mutant.
    pub judge: PathBuf,
}

/// Where all of it is kept.
#[must_use]
pub fn scratch(root: &Path) -> PathBuf {
    root.join("target/mutants")
}

impl Suite {
    /// Draws, writes and builds; `progress` is told what is done.
    pub fn build(wanted: &Wanted, mut progress: impl FnMut(&str)) -> Result<Suite, Trouble> {
        let offers: Vec<Offer> = tree::offers(&wanted.root)?.into_iter().map(|(_, offer)| offer).collect();
        let classes = listed::classes()?;
        let class_sites = classes.iter().map(|class| class.site(&wanted.root)).collect::<Result<Vec<_>, _>>()?;
        let scratch = scratch(&wanted.root);
        let known = scratch.join(format!("refused-{:016x}.json", digest(&offers, wanted.seed)));
        let mut refused: BTreeSet<u32> =
            fs::read(&known).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        let (tree, target) = (scratch.join("tree"), scratch.join("build"));
        loop {
            let drawn = draw(wanted, &offers, &class_sites, &refused);
            let fixed = class_sites.iter().zip(&classes).zip(CLASSES_FROM..);
            let fixed = fixed.map(|((site, class), id)| Mutant { id, site: site.clone(), class: Some(class.clone()) });
            let mutants: Vec<Mutant> = drawn.into_iter().chain(fixed).collect();
            let copied = tree::copy(&wanted.root, &tree, &by_file(&mutants))?;
            progress(&format!("building {} mutants; {} were refused so far", mutants.len(), refused.len()));
            let errors =
                match compile::cargo(&tree, &target, &["build", "-p", "wyrdlog-mutants", "--bin", "mutant-judge"])? {
                    Build::Built(programs) => {
                        let judge = programs.get("mutant-judge").cloned().ok_or("cargo names no mutant-judge")?;
                        let (digest, refused) = (copied.digest, refused.len());
                        return Ok(Suite { tree, target, mutants, refused, digest, judge });
                    }
                    Build::Refused(errors) => errors,
                };
            let (blamed, unexplained) = compile::blame(&errors, &copied.places);
            if blamed.is_empty() {
                let texts: Vec<&str> = unexplained.iter().map(|error| error.message.as_str()).collect();
                return Err(
                    format!("the copy does not compile, and no mutant is to blame:\n{}", texts.join("\n")).into()
                );
            }
            if let Some(mutant) = mutants.iter().find(|mutant| blamed.contains(&mutant.id) && mutant.class.is_some()) {
                let name = mutant.class.as_ref().map_or("", |class| &class.name);
                let texts: Vec<&str> = errors.iter().map(|error| error.message.as_str()).collect();
                return Err(format!("class {name} does not compile:\n{}", texts.join("\n")).into());
            }
            refused.extend(blamed);
            tree::write_if_new(&known, &serde_json::to_vec(&refused)?)?;
        }
    }

    /// Builds the product's own tests; gives the program.
    pub fn build_tests(&self) -> Result<PathBuf, Trouble> {
        match compile::cargo(&self.tree, &self.target, &["test", "--no-run", "-p", "wyrdlog", "--lib"])? {
            Build::Built(programs) => Ok(programs.get("wyrdlog").cloned().ok_or("cargo names no test")?),
            Build::Refused(errors) => {
                let texts: Vec<&str> = errors.iter().map(|error| error.message.as_str()).collect();
                Err(format!("the tests of the copy do not compile:\n{}", texts.join("\n")).into())
            }
        }
    }
}

/// The mutants that the seed draws, without those that are `refused`. What was refused keeps its
/// number and its place, so that what is drawn after it does not depend on when that was found out.
fn draw(wanted: &Wanted, offers: &[Offer], classes: &[Site], refused: &BTreeSet<u32>) -> Vec<Mutant> {
    let mut draw = Draw::new(wanted.seed, offers);
    let (mut taken, mut mutants) = (classes.to_vec(), Vec::new());
    for id in 1.. {
        if mutants.len() >= wanted.count {
            break;
        }
        let Some(site) = draw.next(&taken) else { break };
        taken.push(site.clone());
        if !refused.contains(&id) {
            mutants.push(Mutant { id, site: site.clone(), class: None });
        }
    }
    mutants
}

fn by_file(mutants: &[Mutant]) -> BTreeMap<String, Vec<Edit>> {
    let mut edits: BTreeMap<String, Vec<Edit>> = BTreeMap::new();
    for Mutant { id, site, .. } in mutants {
        let edit = Edit { id: *id, range: site.range.clone(), form: site.form, mutated: site.mutated.clone() };
        edits.entry(site.file.clone()).or_default().push(edit);
    }
    edits
}

/// What decides which mutants are drawn.
fn digest(offers: &[Offer], seed: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    seed.hash(&mut hasher);
    for offer in offers {
        offer.lines.hash(&mut hasher);
        for site in &offer.sites {
            (&site.file, site.line, site.range.start, &site.original, &site.mutated).hash(&mut hasher);
        }
    }
    hasher.finish()
}

/// Reads what an earlier command left at `path`, line by line.
pub(crate) fn lines_of<T: serde::de::DeserializeOwned>(path: &Path) -> Vec<T> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Appends a line to the file at `path`.
pub(crate) fn append<T: serde::Serialize>(path: &Path, line: &T) -> io::Result<()> {
    use io::Write;
    let mut file = fs::OpenOptions::new().create(true).append(true).open(path)?;
    writeln!(file, "{}", serde_json::to_string(line)?)
}
