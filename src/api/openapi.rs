//! The document that describes the door, made of the operations themselves.
//!
//! What makes it is half a megabyte of code, so a daemon serves the document that is
//! checked in beside this file, and `tests/house/pages` fails where that is not what is made.

use http::StatusCode;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::events::{self, FollowEvents};
use super::operations::{self, each_operation};
use super::stream::{self, Follow, Line};
use super::{Method, Operation, PREFIX, Problem, Rights, Route, problem};

/// The OpenAPI document that a daemon serves: [`document`], a line for each path and
/// each schema.
pub const SERVED: &str = include_str!("openapi.json");

/// The OpenAPI document, version 3.1, as the code has it now.
#[must_use]
pub fn document() -> Value {
    let mut schemas = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into())
        .into_generator();
    let mut paths = Map::new();
    macro_rules! describe {
        ($($operation:ident),* $(,)?) => {
            $({
                type Operation = operations::$operation;
                let (path, item) = path::<Operation>(&mut schemas);
                paths.insert(path, item);
            })*
        };
    }
    each_operation!(describe);
    let (path, item) = follow(&mut schemas);
    paths.insert(path, item);
    let (path, item) = follow_events(&mut schemas);
    paths.insert(path, item);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "mcp-bridge",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The API of mcp-bridged on its Unix sockets: api.sock for sessions, admin.sock for operators.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "http://localhost" }],
        "paths": paths,
        "components": {
            "schemas": schemas.take_definitions(true),
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A session's token; the header MCP-Bridge-Session names the session.",
                },
            },
        },
    })
}

/// Every operation, as HTTP knows it.
#[must_use]
pub fn routes() -> Vec<Route> {
    macro_rules! routes {
        ($($operation:ident),* $(,)?) => {
            vec![$(<operations::$operation as Operation>::ROUTE),*]
        };
    }
    each_operation!(routes)
}

fn path<O: Operation>(schemas: &mut SchemaGenerator) -> (String, Value) {
    let route = O::ROUTE;
    let answer = media::<O::Answer>(schemas, "application/json");
    let mut item = item(schemas, route.name, route.summary, route.rights, &answer);
    let method = match route.method {
        Method::Get => "get",
        Method::Post => {
            let body = media::<O>(schemas, "application/json");
            // Without a body it is asked for with what each member is by itself.
            let is_required = serde_json::from_str::<O>("{}").is_err();
            item["requestBody"] = json!({ "required": is_required, "content": body });
            "post"
        }
    };
    let mut methods = Map::new();
    methods.insert(method.to_owned(), item);
    (format!("{PREFIX}{}", route.name), Value::Object(methods))
}

fn follow(schemas: &mut SchemaGenerator) -> (String, Value) {
    let answer = media::<Line>(schemas, stream::MEDIA_TYPE);
    let summary = "Streams new messages of sessions, one JSON line each.";
    let mut item = item(schemas, stream::NAME, summary, Rights::ANYONE, &answer);
    let body = media::<Follow>(schemas, "application/json");
    item["requestBody"] = json!({ "required": true, "content": body });
    (format!("{PREFIX}{}", stream::NAME), json!({ "post": item }))
}

fn follow_events(schemas: &mut SchemaGenerator) -> (String, Value) {
    let answer = media::<events::Line>(schemas, stream::MEDIA_TYPE);
    let mut item = item(
        schemas,
        events::NAME,
        events::SUMMARY,
        Rights::OPERATOR,
        &answer,
    );
    let body = media::<FollowEvents>(schemas, "application/json");
    item["requestBody"] = json!({ "required": false, "content": body });
    (format!("{PREFIX}{}", events::NAME), json!({ "post": item }))
}

fn media<T: JsonSchema>(schemas: &mut SchemaGenerator, kind: &str) -> Value {
    let schema = schemas.subschema_for::<T>();
    let mut content = Map::new();
    content.insert(kind.to_owned(), json!({ "schema": schema }));
    Value::Object(content)
}

fn item(
    schemas: &mut SchemaGenerator,
    name: &str,
    summary: &str,
    rights: Rights,
    answer: &Value,
) -> Value {
    let who = match (rights.anyone, rights.session, rights.operator) {
        (true, ..) => "Anyone who can open a socket.",
        (false, true, true) => "A session, for its own things; at admin.sock an operator.",
        (false, true, false) => "A session, with its token.",
        (false, false, _) => "An operator, at admin.sock.",
    };
    let mut responses = Map::new();
    responses.insert(
        "200".into(),
        json!({ "description": "Done.", "content": answer }),
    );
    let problem = media::<Problem>(schemas, problem::MEDIA_TYPE);
    for status in [400, 401, 403, 404, 405, 409, 413, 415, 429, 500, 503] {
        let reason = StatusCode::from_u16(status).ok();
        let reason = reason.and_then(|status| status.canonical_reason());
        responses.insert(
            status.to_string(),
            json!({ "description": reason.unwrap_or_default(), "content": problem }),
        );
    }
    let security = match (rights.anyone, rights.operator) {
        (true, _) => json!([]),
        (false, true) => json!([{ "token": [] }, {}]),
        (false, false) => json!([{ "token": [] }]),
    };
    let mut item = json!({
        "operationId": name.replace(['/', '-'], "_"),
        "summary": summary,
        "description": who,
        "security": security,
        "responses": responses,
    });
    if rights.session && !rights.anyone {
        item["parameters"] = json!([{
            "name": "MCP-Bridge-Session",
            "in": "header",
            "description": "The session that the token belongs to.",
            "required": !rights.operator,
            "schema": { "type": "string", "pattern": "^conv_[0-9a-f]{16}/[ab]$" },
        }]);
    }
    item
}
