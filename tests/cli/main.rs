//! What a person does at a terminal, and what the programs that clients start do.

#[path = "../common/mod.rs"]
mod common;

mod demo;
mod examples;
mod guarded_store;
mod hooks;
mod mcp;
mod setup;
mod team;
mod terminal;
