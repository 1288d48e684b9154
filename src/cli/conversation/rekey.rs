//! `mcp-bridge conversation rekey`: another token for a session, and the files that
//! have it.
//!
//! The files are written before the store takes the token, and put in their places
//! afterwards (`credentials::rewrite`): a command that is cut off in between is
//! finished by the next one.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use serde_json::json;

use super::new;
use crate::bridge::Bridge;
use crate::cli::completions;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::operator;
use crate::cli::output::{self, note, print, print_json};
use crate::credentials::rewrite::{Left, Rewrite};
use crate::credentials::{Credentials, OF_THE_SERVICE};
use crate::exit::Exit;
use crate::model::session::{Conversation, session_name};
use crate::model::token::Token;
use crate::model::{InvalidId, SessionKey, Side};
use crate::session::known::{credentials_directory, holding};
use crate::session::made::token_for;
use crate::session::{self, Acting, Member};
use crate::store::{Caller, StoreError};

/// Gives a session another token, and writes it into its credentials file; the
/// old one ends at once.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-bridge -c backend-1/b conversation rekey backend-1
  mcp-bridge conversation rekey backend-1 --side b --out ./credentials

With credentials of the session, its files are rewritten; everything else in them
stays. An operator needs no credentials: NAME.SIDE.toml in --out is created or
rewritten. The other side keeps its token. If the command was interrupted, run it
again.")]
pub(in crate::cli) struct RekeyArgs {
    /// Id or label of the conversation
    #[arg(value_name = "CONVERSATION", add = ArgValueCandidates::new(completions::conversations))]
    conversation: String,
    /// Side whose token is replaced [default: the side of the credentials]
    #[arg(long, value_name = "SIDE", value_parser = side)]
    side: Option<Side>,
    /// Directory for NAME.SIDE.toml [default: the files of the credentials; without
    /// credentials, as for `conversation new`]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

fn side(text: &str) -> Result<Side, InvalidId> {
    text.parse()
}

pub(super) async fn run(args: RekeyArgs, context: &Context) -> anyhow::Result<Exit> {
    let bridge = context.open().await?;
    let found = session::conversation(&bridge, &args.conversation).await?;
    let acting = context.acting_if_any()?;
    let mine = mine(acting.as_ref(), &found, args.side)?;
    if mine.token.is_none() {
        operator::ensure(context).await?;
    }
    let paths = mine.paths(args.out, &found)?;
    let session = &mine.session;
    let presented = presented(&bridge, &mine, &paths).await?;
    if presented.is_none() && operator::ensure(context).await.is_err() {
        return Err(StoreError::WrongToken(session.clone()).into());
    }
    let token = token_for(session)?;
    let rewrites = prepare(&bridge, &paths, &found, session, &token).await?;
    let rekeyed = bridge.rekey_session(session, presented.as_ref(), &token);
    if let Err(error) = rekeyed.await {
        match takes(&bridge, session, &token).await {
            Ok(true) => {}
            Ok(false) => {
                rewrites.into_iter().for_each(Rewrite::discard);
                return Err(error.into());
            }
            Err(_) => {
                let what = "the answer was lost: the store may have the new token; a file with it is kept beside each credentials file\n  run this command again: it completes the change";
                return Err(anyhow::Error::from(error).context(what));
            }
        }
    }
    bridge.close().await;
    let files = finish(rewrites)?;
    show(&mine, &files, &token, &found, context)
}

/// The session that is meant.
struct Mine {
    session: SessionKey,
    /// As the credentials have it, if they are this session's.
    token: Option<Token>,
    files: Vec<PathBuf>,
}

fn mine(acting: Option<&Acting>, found: &Conversation, side: Option<Side>) -> anyhow::Result<Mine> {
    let members = acting.map_or(&[][..], |acting| &acting.members);
    let of = |member: &&Member| {
        let session = &member.caller.session;
        session.conversation == found.id && side.is_none_or(|side| session.side == side)
    };
    let members: Vec<_> = members.iter().filter(of).collect();
    match (members.as_slice(), side) {
        ([member], _) => Ok(Mine {
            session: member.caller.session.clone(),
            token: Some(member.caller.token.clone()),
            files: member.files().to_vec(),
        }),
        (_, Some(side)) => Ok(Mine {
            session: SessionKey::new(found.id.clone(), side),
            token: None,
            files: Vec::new(),
        }),
        (_, None) => {
            let what = "which side gets a new token? use --side a or --side b";
            Err(CliError::Usage(what.into()).into())
        }
    }
}

impl Mine {
    /// The files that are to have the new token.
    fn paths(&self, out: Option<PathBuf>, found: &Conversation) -> anyhow::Result<Vec<PathBuf>> {
        if out.is_none() && self.token.is_some() {
            if self.files.is_empty() {
                let what = "the token is in the environment, which this command cannot change; give a directory for its file with --out";
                return Err(CliError::Usage(what.into()).into());
            }
            let absolute = self.files.iter().map(std::path::absolute);
            return Ok(absolute.collect::<Result<_, _>>()?);
        }
        let name = output::conversation_name(found.label.as_ref(), &found.id);
        let file = format!("{name}.{}.toml", self.session.side);
        Ok(vec![new::directory(out)?.join(file)])
    }
}

/// Whether the store takes this token; of a conversation that has ended, too.
async fn takes(bridge: &Bridge, session: &SessionKey, token: &Token) -> Result<bool, StoreError> {
    let caller = Caller {
        session: session.clone(),
        token: token.clone(),
    };
    match bridge.verify(&[caller]).await?.pop() {
        Some(Err(StoreError::WrongToken(_))) | None => Ok(false),
        Some(Ok(_) | Err(StoreError::Closed(_) | StoreError::Expired { .. })) => Ok(true),
        Some(Err(error)) => Err(error),
    }
}

/// The token that the store has for the session, if the credentials have it, or a
/// file that an earlier command left beside theirs, which then gets its place.
async fn presented(
    bridge: &Bridge,
    mine: &Mine,
    paths: &[PathBuf],
) -> anyhow::Result<Option<Token>> {
    let mut presented = None;
    for path in paths {
        let Some(left) = Left::beside(path, &mine.session)? else {
            continue;
        };
        match left.token().cloned() {
            Some(token) if takes(bridge, &mine.session, &token).await? => {
                left.finish()?;
                presented = Some(token);
            }
            _ => left.discard()?,
        }
    }
    if let (None, Some(token)) = (&presented, &mine.token)
        && takes(bridge, &mine.session, token).await?
    {
        presented = Some(token.clone());
    }
    Ok(presented)
}

/// Writes all files as they will be, or none.
async fn prepare(
    bridge: &Bridge,
    paths: &[PathBuf],
    found: &Conversation,
    session: &SessionKey,
    token: &Token,
) -> anyhow::Result<Vec<Rewrite>> {
    let storage = bridge.token_storage().await?;
    let caller = Caller {
        session: session.clone(),
        token: token.clone(),
    };
    let whole = Credentials {
        store: Some(bridge.lasting_name().await?),
        label: found.label.clone(),
        callers: vec![caller],
        source: None,
    };
    let mut rewrites = Vec::with_capacity(paths.len());
    for path in paths {
        match Rewrite::prepare(path, &whole, storage) {
            Ok(rewrite) => rewrites.push(rewrite),
            Err(error) => {
                rewrites.into_iter().for_each(Rewrite::discard);
                return Err(error.into());
            }
        }
    }
    Ok(rewrites)
}

/// Puts all files in their places, also if one of them cannot be.
fn finish(rewrites: Vec<Rewrite>) -> anyhow::Result<Vec<PathBuf>> {
    let finished: Vec<_> = rewrites.into_iter().map(Rewrite::finish).collect();
    Ok(finished.into_iter().collect::<Result<_, _>>()?)
}

fn show(
    mine: &Mine,
    files: &[PathBuf],
    token: &Token,
    found: &Conversation,
    context: &Context,
) -> anyhow::Result<Exit> {
    let session = &mine.session;
    let stale = stale(mine, files, token);
    if context.json() {
        print_json(&json!({
            "id": found.id,
            "label": found.label,
            "session": session.side,
            "files": files,
            "stale": stale,
        }))?;
        return Ok(Exit::Success);
    }
    let name = session_name(found.label.as_ref(), session);
    let mut out = format!("session {name} has a new token; the old one is refused from now on\n");
    for file in files {
        out.push_str(&format!("  {}\n", file.display()));
    }
    print(&out)?;
    for file in stale {
        note(&format!(
            "{} still has the old token of {name}, which is not valid any more",
            file.display()
        ));
    }
    if files.iter().any(|file| file.starts_with(OF_THE_SERVICE)) {
        note(
            "a service reads its credentials when it starts: systemctl restart mcp-bridged.target",
        );
    }
    Ok(Exit::Success)
}

/// Files that have another token for this session: beside those that were written,
/// beside those that were named, and in the default directory.
fn stale(mine: &Mine, files: &[PathBuf], token: &Token) -> Vec<PathBuf> {
    let files = files.iter().chain(&mine.files);
    let absolute = files.filter_map(|file| std::path::absolute(file).ok());
    let mut directories: BTreeSet<PathBuf> = absolute
        .filter_map(|file| Some(file.parent()?.to_owned()))
        .collect();
    directories.extend(credentials_directory());
    let held = directories
        .iter()
        .flat_map(|directory| holding(directory, &mine.session));
    held.filter(|(_, held)| held.expose() != token.expose())
        .map(|(file, _)| file)
        .collect()
}
