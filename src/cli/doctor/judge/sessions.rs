//! What is found of sessions: their credentials, the proofs of their agents'
//! lives, the ways to wake them; and of the ways to tell the operator.

use super::of;
use crate::advice;
use crate::cli::doctor::facts::{
    Adapter, Config, Configured, CredentialsFile, CredentialsTrouble, Facts, Life, Session,
    Standing,
};
use crate::cli::doctor::finding::Finding;
use crate::text;

fn said(configs: &[Config]) -> impl Iterator<Item = (&Config, &Configured)> {
    configs
        .iter()
        .filter_map(|config| Some((config, config.outcome.as_ref().ok()?)))
}

fn sessions(configs: &[Config]) -> impl Iterator<Item = (&Config, &Session)> {
    said(configs).flat_map(|(config, said)| said.sessions.iter().map(move |one| (config, one)))
}

const LIVENESS: &str = "liveness";
const START: &str = "start the agent, or set a proof that fits it";

pub(super) fn credentials(files: &[CredentialsFile]) -> Vec<Finding> {
    const TOPIC: &str = "credentials";
    let mut found = Vec::new();
    // Files that only lie there may well be of conversations that ended.
    let (mut good, mut over, mut private) = (0_u64, 0_u64, 0_u64);
    for file in files {
        let path = file.path.display();
        let push = |found: &mut Vec<Finding>, finding: Finding| {
            found.push(finding.of(file.other.as_deref()));
        };
        let naming = |text: &str| match &file.store {
            Some(store) => advice::on(text, store),
            None => text.to_owned(),
        };
        let sessions = match &file.outcome {
            Ok(sessions) => sessions,
            Err(CredentialsTrouble::NotOurs) => {
                private += 1;
                continue;
            }
            Err(CredentialsTrouble::Missing) => {
                let text = format!("{path}: there is no such file");
                let remedy = "`mcp-bridge conversation new` writes one; the daemon uses it as soon as it is there";
                push(&mut found, Finding::warn(TOPIC, text, naming(remedy)));
                continue;
            }
            Err(CredentialsTrouble::Wrong(what, remedy)) => {
                push(&mut found, Finding::fail(TOPIC, what, remedy));
                continue;
            }
        };
        for (session, standing) in sessions {
            let (ended, remedy) = match standing {
                Standing::Good | Standing::NotAsked => {
                    good += 1;
                    continue;
                }
                Standing::WrongToken => {
                    let text = format!("{path}: its token for {session} is wrong");
                    let remedy = "use the file that was written when the conversation was created";
                    push(&mut found, Finding::fail(TOPIC, text, remedy));
                    continue;
                }
                Standing::Expired(ago) => (
                    format!("expired {} ago", text::long_duration(*ago)),
                    naming(&format!(
                        "mcp-bridge conversation renew {}",
                        conversation_of(session)
                    )),
                ),
                Standing::Closed => (
                    "was closed".to_owned(),
                    "remove the session from the configuration".to_owned(),
                ),
                Standing::Unknown => (
                    "is not in the store".to_owned(),
                    "use its own store, or remove the session from the configuration".to_owned(),
                ),
            };
            if file.configured {
                let text = format!("{path}: the conversation of {session} {ended}");
                push(&mut found, Finding::warn(TOPIC, text, remedy));
            } else {
                over += 1;
            }
        }
    }
    if good > 0 {
        let sessions = text::count(good, "session");
        found.push(Finding::ok(
            TOPIC,
            format!("{sessions}: readable by their user only, known to the store"),
        ));
    }
    if over > 0 {
        let sessions = text::count(over, "session");
        let text = format!("{sessions} of ended conversations, in files that no daemon uses");
        found.push(Finding::note(TOPIC, text));
    }
    if private > 0 {
        let files = text::count(private, "file");
        found.push(Finding::skip(
            TOPIC,
            format!("{files} that only another user may read"),
        ));
    }
    found
}

/// `conv_x/b` or `backend/b`, without its side.
fn conversation_of(session: &str) -> &str {
    session.split_once('/').map_or(session, |(name, _)| name)
}

pub(super) fn liveness(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for (config, session) in sessions(&facts.configs) {
        let lives = lives(session);
        let findings = match lives.is_empty() {
            true => vec![own_look(session)],
            false => lives,
        };
        found.extend(of(config.other.as_ref(), findings));
    }
    found
}

/// What its daemon says of a session's life, where it says that there is none.
fn lives(session: &Session) -> Vec<Finding> {
    let mut found = Vec::new();
    for said in &session.said {
        let Some(why) = &said.life else { continue };
        let says = format!("{}: its daemon says: {why}", said.name);
        found.push(match &session.proof {
            Life::Alive(by) => Finding::fail(
                LIVENESS,
                format!("{says}; this command sees it alive by {by}"),
                "see what the daemon's user may read: sudo -u USER mcp-bridge doctor",
            ),
            _ => Finding::warn(LIVENESS, says, START),
        });
    }
    found
}

/// What this command sees of a session of which its daemon says nothing bad.
fn own_look(session: &Session) -> Finding {
    let name = &session.name;
    match &session.proof {
        Life::Alive(by) => Finding::ok(LIVENESS, format!("{name}: alive by {by}")),
        Life::Unproven(why) => {
            let differs = match session.kept {
                true => "; its daemon reports nothing about it",
                false => "",
            };
            Finding::warn(LIVENESS, format!("{name}: {why}{differs}"), START)
        }
        Life::None => Finding::note(
            LIVENESS,
            format!("{name}: \"none\": no proof that its agent is alive"),
        ),
        Life::NotAsked(why) => Finding::skip(LIVENESS, format!("{name}: {why}")),
    }
}

pub(super) fn wakes(configs: &[Config]) -> Vec<Finding> {
    const TOPIC: &str = "wake";
    let mut found = Vec::new();
    for (config, session) in sessions(configs) {
        let other = config.other.as_ref();
        if session.wakes.is_empty() {
            let text = format!(
                "{}: no wake adapter configured: an idle agent is not woken",
                session.name
            );
            found.push(Finding::note(TOPIC, text));
        }
        for adapter in &session.wakes {
            found.extend(of(other, self::adapter(TOPIC, &session.name, adapter)));
        }
    }
    found
}

/// What daemons say of sessions that no file here names, or that this user may
/// not read.
pub(super) fn said_of_others(facts: &Facts) -> Vec<Finding> {
    let known: Vec<&str> = sessions(&facts.configs)
        .flat_map(|(_, session)| &session.said)
        .map(|said| said.session.as_str())
        .collect();
    let running = facts.daemons.iter().filter(|daemon| daemon.runs);
    let mut found = Vec::new();
    for (daemon, said) in running.flat_map(|d| d.state.sessions.iter().map(move |s| (d, s))) {
        let (by, name) = (&daemon.instance, &said.name);
        if let Some(why) = &said.wake {
            let text = format!("{name}: {by} says: {why}");
            let remedy =
                "correct the command or file of its wake adapter; the daemon retries automatically";
            found.push(Finding::fail("wake", text, remedy).of(daemon.other.as_deref()));
        }
        if let Some(other) = &said.beside {
            let text = format!("{name}: {by} says: {other}");
            let remedy = "give each agent its own work tree: git worktree add";
            found.push(Finding::warn(LIVENESS, text, remedy).of(daemon.other.as_deref()));
        }
        if let Some(why) = said
            .life
            .as_ref()
            .filter(|_| !known.contains(&said.session.as_str()))
        {
            let text = format!("{name}: {by} says: {why}");
            found.push(Finding::warn(LIVENESS, text, START).of(daemon.other.as_deref()));
        }
    }
    found
}

pub(super) fn alerts(configs: &[Config]) -> Vec<Finding> {
    const TOPIC: &str = "alert";
    let mut found = Vec::new();
    for (config, said) in said(configs) {
        if said.alerts.is_empty() {
            let text = format!("{}: alerts go to the journal only", config.instance);
            found.push(Finding::note(TOPIC, text));
        }
        for adapter in &said.alerts {
            let other = config.other.as_ref();
            found.extend(of(other, self::adapter(TOPIC, &config.instance, adapter)));
        }
    }
    found
}

fn adapter(topic: &'static str, whose: &str, adapter: &Adapter) -> Vec<Finding> {
    let name = adapter.name;
    if let Some((what, remedy)) = &adapter.trouble {
        return vec![Finding::fail(
            topic,
            format!("{whose}: {name}: {what}"),
            remedy,
        )];
    }
    vec![match &adapter.doubt {
        Some((what, remedy)) => Finding::warn(topic, format!("{whose}: {name}: {what}"), remedy),
        None => Finding::ok(topic, format!("{whose}: {name}: {}", adapter.target)),
    }]
}
