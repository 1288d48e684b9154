# Short names for what CONTRIBUTING.md says. `just` lists them.

_list:
    @just --list

# Format, lint, and test what needs no machine of its own
check:
    cargo fmt --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo nextest run --lib --test house --test cli

# Everything, in its short form (about 15 minutes)
test:
    tests/run

# Make the files again that are made from the code
bless:
    MCP_BRIDGE_BLESS=1 cargo nextest run --test house pages

# Packages, archive and checksums of a release, in target/dist
release:
    packaging/release

# The product in one minute
demo:
    cargo run --release -- demo
