//! `mcp-bridge conversation label` and `credentials`: conversations that the
//! Python bridge made get what ours have from the start.

use std::path::PathBuf;

use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use serde_json::json;

use super::new;
use crate::cli::completions;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::output::{self, print, print_json};
use crate::credentials::Credentials;
use crate::exit::Exit;
use crate::model::token::TokenStorage;
use crate::model::{Label, SessionKey, Side};
use crate::session;
use crate::store::Caller;

/// Gives a conversation a label, in the place of the one that it has.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-bridge conversation label conv_0123456789abcdef backend-1")]
pub(in crate::cli) struct LabelArgs {
    /// Id or current label of the conversation
    #[arg(value_name = "CONVERSATION", add = ArgValueCandidates::new(completions::conversations))]
    conversation: String,
    /// New label; no other open conversation may have it
    #[arg(value_name = "LABEL", value_parser = new::label)]
    label: Label,
}

/// Writes the credentials files of conversations whose tokens the store keeps in
/// the clear, as it does for the Python bridge.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-bridge conversation credentials backend-1 backend-2
  mcp-bridge conversation credentials conv_0123456789abcdef --out ./credentials

The files are NAME.a.toml and NAME.b.toml, as `conversation new` writes them.
Only this user can read them. An existing file is not overwritten.")]
pub(in crate::cli) struct CredentialsArgs {
    /// Ids or labels of the conversations
    #[arg(value_name = "CONVERSATION", required = true, add = ArgValueCandidates::new(completions::conversations))]
    conversations: Vec<String>,
    /// Directory for the files [default: as for `conversation new`]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) async fn label(args: LabelArgs, context: &Context) -> anyhow::Result<Exit> {
    let bridge = context.open().await?;
    let found = session::conversation(&bridge, &args.conversation).await?;
    bridge.label_conversation(&found.id, &args.label).await?;
    bridge.close().await;
    if context.json() {
        print_json(&json!({ "id": found.id, "label": args.label }))?;
        return Ok(Exit::Success);
    }
    print(&format!("conversation {} is {}\n", found.id, args.label))?;
    Ok(Exit::Success)
}

pub(super) async fn credentials(args: CredentialsArgs, context: &Context) -> anyhow::Result<Exit> {
    let bridge = context.look().await?;
    let store = bridge.lasting_name().await?;
    let mut files = Vec::new();
    // All are looked up before the first file is written.
    for name in &args.conversations {
        let found = session::conversation(&bridge, name).await?;
        let Some(tokens) = bridge.plain_tokens(&found.id).await? else {
            let name = output::conversation_name(found.label.as_ref(), &found.id);
            return Err(CliError::TokensHashed(name).into());
        };
        for (side, token) in Side::BOTH.into_iter().zip(tokens) {
            let session = SessionKey::new(found.id.clone(), side);
            let name = output::conversation_name(found.label.as_ref(), &found.id);
            let credentials = Credentials {
                store: Some(store.clone()),
                label: found.label.clone(),
                callers: vec![Caller { session, token }],
                source: None,
            };
            files.push((credentials, format!("{name}.{side}.toml")));
        }
    }
    bridge.close().await;
    let directory = new::directory(args.out)?;
    let mut written = Vec::with_capacity(files.len());
    for (credentials, name) in files {
        let path = directory.join(name);
        credentials.write(&path, TokenStorage::Plain)?;
        written.push(path);
    }
    if context.json() {
        print_json(&json!({ "files": written }))?;
        return Ok(Exit::Success);
    }
    let lines: Vec<String> = written
        .iter()
        .map(|path| format!("{}\n", path.display()))
        .collect();
    print(&lines.concat())?;
    Ok(Exit::Success)
}
