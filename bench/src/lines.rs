//! Times by message id, and the lines whose writing a reader times.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use mcp_bridge::clock;

/// Times by message id, as one process saw them.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Stamps {
    times: Vec<(i64, u64)>,
    /// Looks that were needed for all of them, where they were counted.
    pub(super) looks: Option<u64>,
}

impl Stamps {
    pub(super) fn add(&mut self, stamp: (i64, u64)) {
        self.times.push(stamp);
    }

    pub(super) fn last(&self) -> i64 {
        self.times.last().map_or(0, |&(id, _)| id)
    }

    pub(super) fn in_order(&self) -> &[(i64, u64)] {
        &self.times
    }

    pub(super) fn by_id(&self) -> HashMap<i64, u64> {
        self.times.iter().copied().collect()
    }

    pub(super) fn save(&self, path: &Path) -> anyhow::Result<()> {
        std::fs::write(path, serde_json::to_vec(self)?).context("writing down the times")
    }

    pub(super) fn load(path: &Path) -> anyhow::Result<Self> {
        let bytes = std::fs::read(path).context("reading what a child measured")?;
        Ok(serde_json::from_slice(&bytes)?)
    }
}

/// Writes lines to stdout and notes when each was written.
#[derive(Debug, Default)]
pub(super) struct Lines {
    line: Vec<u8>,
    stamps: Stamps,
}

impl Lines {
    /// One line, as JSON; its time is when the pipe has it.
    pub(super) fn write(&mut self, id: i64, line: &impl Serialize) -> std::io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, line)?;
        self.line.push(b'\n');
        let mut out = std::io::stdout().lock();
        out.write_all(&self.line)?;
        out.flush()?;
        self.stamps.add((id, clock::monotonic_nanos()));
        Ok(())
    }

    pub(super) fn looked(&mut self) {
        *self.stamps.looks.get_or_insert(0) += 1;
    }

    /// Looks that were counted elsewhere.
    pub(super) fn looked_in_all(&mut self, looks: u64) {
        self.stamps.looks = Some(looks);
    }

    pub(super) fn save(&self, path: &Path) -> anyhow::Result<()> {
        self.stamps.save(path)
    }
}
