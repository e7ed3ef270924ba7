//! The OpenAPI 3.1 document, from the registry.

use std::collections::BTreeMap;

use mn_api_types::{Described, Description, Field, JSON, Media, MediaForm, Shape};
use serde_json::{Map, Value, json};

use super::endpoint::{Endpoint, Resource};
use super::registry;

/// The document that is served and checked in.
pub fn openapi() -> Value {
    document(&registry::resources())
}

/// The document of these resources.
pub fn document(resources: &[Resource]) -> Value {
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    let mut schemas = BTreeMap::new();
    for resource in resources {
        add_schema(resource.description, &mut schemas);
        for endpoint in &resource.endpoints {
            endpoint.takes.into_iter().for_each(|taken| add_schema(taken, &mut schemas));
            let method = endpoint.method.as_str().to_ascii_lowercase();
            // The root is served with and without its slash; one of them is told.
            let path = if endpoint.path.is_empty() { "/" } else { endpoint.path };
            paths.entry(path).or_default().insert(method, operation(resource, endpoint));
        }
    }
    schemas.insert("Error".to_owned(), error_schema());
    let paths: Map<String, Value> = paths
        .into_iter()
        .map(|(path, methods)| (path.to_owned(), Value::Object(methods)))
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "MidoNet",
            "version": "5.0",
            "description": "Virtual networks: devices, ports, routes, filters, and where they are. \
                Every request but POST /login carries X-Auth-Token. With ?strict=true unknown and \
                read-only fields are refused.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/midonet-api"}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"},
            },
        },
        "security": [{"token": []}],
    })
}

fn operation(resource: &Resource, endpoint: &Endpoint) -> Value {
    let mut operation = Map::new();
    operation.insert("tags".to_owned(), json!([resource.description.name]));
    operation.insert("summary".to_owned(), summary(resource, endpoint).into());
    operation.insert("parameters".to_owned(), parameters(endpoint));
    if let Some(taken) = endpoint.takes {
        let content = content(&resource.media, MediaForm::One, &reference(taken));
        operation.insert("requestBody".to_owned(), json!({"required": true, "content": content}));
    }
    let mut success = Map::new();
    success.insert("description".to_owned(), "Done.".into());
    if let Some(form) = endpoint.answers {
        let one = reference(resource.description);
        let schema = match form {
            MediaForm::One => one,
            MediaForm::Collection => json!({"type": "array", "items": one}),
        };
        success.insert("content".to_owned(), content(&resource.media, form, &schema));
    }
    if endpoint.success == 201 {
        let schema = json!({"type": "string", "format": "uri"});
        success.insert("headers".to_owned(), json!({"Location": {"schema": schema}}));
    }
    let error_type = Media::ERROR.newest(MediaForm::One);
    let mut error_content = Map::new();
    error_content.insert(error_type, json!({"schema": {"$ref": "#/components/schemas/Error"}}));
    let error = json!({"description": "Refused.", "content": error_content});
    operation.insert(
        "responses".to_owned(),
        json!({endpoint.success.to_string(): success, "default": error}),
    );
    Value::Object(operation)
}

fn summary(resource: &Resource, endpoint: &Endpoint) -> String {
    let name = resource.description.name;
    match (endpoint.method.as_str(), endpoint.answers) {
        ("GET", Some(MediaForm::Collection)) => format!("Lists objects of type {name}."),
        ("GET", _) => format!("Reads an object of type {name}."),
        ("POST", Some(_)) => format!("Asks for an object of type {name}."),
        ("POST", None) => format!("Makes an object of type {name}."),
        ("PUT", _) => format!("Replaces an object of type {name}."),
        _ => format!("Deletes an object of type {name}."),
    }
}

fn parameters(endpoint: &Endpoint) -> Value {
    let parameter = |name: &str, place: &str| {
        let required = place == "path";
        json!({"name": name, "in": place, "required": required, "schema": {"type": "string"}})
    };
    let parts = endpoint.path.split('/');
    let names = parts.filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = names.map(|name| parameter(name, "path")).collect();
    parameters.extend(endpoint.query.iter().map(|name| parameter(name, "query")));
    if endpoint.takes.is_some() {
        let schema = json!({"type": "boolean", "default": false});
        parameters.push(json!({"name": "strict", "in": "query", "schema": schema}));
    }
    Value::Array(parameters)
}

/// The vendor types and plain JSON, all with one schema.
fn content(media: &Media, form: MediaForm, schema: &Value) -> Value {
    let mut types = media.all(form);
    types.push(JSON.to_owned());
    types.into_iter().map(|name| (name, json!({"schema": schema}))).collect::<Map<_, _>>().into()
}

fn reference(description: &Description) -> Value {
    json!({"$ref": format!("#/components/schemas/{}", description.name)})
}

/// Adds the schema of an object and of those in it.
fn add_schema(description: &Description, schemas: &mut BTreeMap<String, Value>) {
    if schemas.contains_key(description.name) {
        return;
    }
    // First a place, so that an object in itself does not go round for ever.
    schemas.insert(description.name.to_owned(), Value::Null);
    let mut properties = Map::new();
    for field in description.all_fields() {
        properties.insert(field.name.to_owned(), field_schema(field, schemas));
    }
    let doc = description.doc.trim();
    let schema = json!({"type": "object", "description": doc, "properties": properties});
    schemas.insert(description.name.to_owned(), schema);
}

fn field_schema(field: &Field, schemas: &mut BTreeMap<String, Value>) -> Value {
    let mut schema = shape_schema(&field.shape, schemas);
    if field.nullable {
        schema = nullable(schema);
    }
    if let Some(object) = schema.as_object_mut() {
        if !field.doc.is_empty() {
            object.insert("description".to_owned(), field.doc.trim().into());
        }
        if field.read_only {
            object.insert("readOnly".to_owned(), true.into());
        }
    }
    schema
}

fn nullable(mut schema: Value) -> Value {
    match schema.get("type").cloned() {
        Some(plain @ Value::String(_)) => {
            schema["type"] = json!([plain, "null"]);
            if let Some(words) = schema.get_mut("enum").and_then(Value::as_array_mut) {
                words.push(Value::Null);
            }
            schema
        }
        _ => json!({"anyOf": [schema, {"type": "null"}]}),
    }
}

fn shape_schema(shape: &Shape, schemas: &mut BTreeMap<String, Value>) -> Value {
    match shape {
        Shape::Bool => json!({"type": "boolean"}),
        Shape::Integer { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        Shape::Text { format: "" } => json!({"type": "string"}),
        Shape::Text { format } => json!({"type": "string", "format": format}),
        Shape::Choice(words) => json!({"type": "string", "enum": words}),
        Shape::List(inner) => json!({"type": "array", "items": shape_schema(inner, schemas)}),
        Shape::Object(description) => {
            add_schema(description, schemas);
            reference(description)
        }
        Shape::Again(name) => json!({"$ref": format!("#/components/schemas/{name}")}),
        Shape::Tagged { tag, variants } => tagged_schema(tag, variants, schemas),
    }
}

fn tagged_schema(
    tag: &str,
    variants: &[(&str, &'static Description)],
    schemas: &mut BTreeMap<String, Value>,
) -> Value {
    let variant = |(word, description): &(&str, &'static Description)| {
        add_schema(description, schemas);
        let mut properties = Map::new();
        properties.insert(tag.to_owned(), json!({"const": word}));
        let marked = json!({"type": "object", "properties": properties, "required": [tag]});
        json!({"allOf": [reference(description), marked]})
    };
    json!({"oneOf": variants.iter().map(variant).collect::<Vec<_>>()})
}

/// Of [`mn_api_types::Fault`].
fn error_schema() -> Value {
    let violation = json!({
        "type": "object",
        "properties": {
            "property": {"type": "string"},
            "message": {"type": "string"},
            "value": {"description": "What was sent."},
        },
    });
    json!({
        "type": "object",
        "properties": {
            "message": {"type": ["string", "null"]},
            "code": shape_schema(&<u16 as Described>::SHAPE, &mut BTreeMap::new()),
            "violations": {"type": "array", "items": violation},
        },
        "required": ["message", "code"],
    })
}
