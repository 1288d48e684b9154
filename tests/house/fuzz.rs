//! What `fuzz/` claims holds for its seeds, and each of its targets can be run: they are
//! built by cargo-fuzz alone, so a change of the code that they call is seen here.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot read what it tries has nothing to say"
)]

#[expect(unreachable_pub, reason = "the library of another package")]
#[path = "../../fuzz/src/lib.rs"]
mod claims;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A claim about any text.
fn of_text(claim: fn(&str), input: &[u8]) {
    claim(std::str::from_utf8(input).expect("text"));
}

type Claim = fn(&[u8]);

const TARGETS: [(&str, Claim); 6] = [
    ("api_bodies", claims::api_bodies),
    ("configuration", claims::configuration),
    ("credentials", claims::credentials),
    ("hook_input", claims::hook_input),
    ("metadata", |input| of_text(claims::metadata, input)),
    ("redaction", |input| of_text(claims::redaction, input)),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn files(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).expect("a directory");
    entries.map(|entry| entry.expect("one").path()).collect()
}

#[test]
fn claims_of_the_fuzz_targets_hold_for_their_seeds() {
    for (name, claim) in TARGETS {
        let seeds = files(&root().join("seeds").join(name));
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for seed in seeds {
            println!("{name}: {}", seed.display());
            claim(&fs::read(&seed).expect("read"));
        }
    }
}

#[test]
fn every_fuzz_target_is_built_and_has_its_claim() {
    let listed: BTreeSet<String> = TARGETS.map(|(name, _)| name.to_owned()).into();
    let mut written = BTreeSet::new();
    for file in files(&root().join("fuzz_targets")) {
        let name = file.file_stem().expect("a name").to_string_lossy();
        let text = fs::read_to_string(&file).expect("text");
        assert!(
            text.contains(&format!("mcp_bridge_fuzz::{name}(")),
            "{text}"
        );
        written.insert(name.into_owned());
    }
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("text");
    let manifest: toml::Table = manifest.parse().expect("TOML");
    let bins = manifest["bin"].as_array().expect("a list");
    let built = bins.iter().filter_map(|bin| bin["name"].as_str());
    assert_eq!(built.map(str::to_owned).collect::<BTreeSet<_>>(), listed);
    assert_eq!(written, listed);
}
