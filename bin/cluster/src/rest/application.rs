//! The application resource: where everything is.

use std::sync::Arc;

use mn_api_types::{Described, Description, Field, Media, Shape};
use serde_json::Map;

use super::call::{Answer, Call};
use super::endpoint::Resource;
use super::problem::Problem;
use super::{openapi, registry};

/// The version of the API that old clients look for.
const VERSION: &str = "v5.0";

/// Its lists and templates depend on what else is served.
const DESCRIPTION: Description = Description {
    name: "Application",
    doc: "Where every resource is: the address of its list and a template of the addresses of single objects.",
    fields: &[
        Field {
            name: "uri",
            doc: "",
            shape: <String as Described>::SHAPE,
            nullable: false,
            read_only: true,
        },
        Field {
            name: "version",
            doc: "",
            shape: Shape::Text { format: "" },
            nullable: false,
            read_only: true,
        },
    ],
    includes: &[],
};

pub fn resource() -> Resource {
    Resource::new(Media::APPLICATION, &DESCRIPTION)
        .read("", application)
        .read("/", application)
        .read("/openapi.json", document)
}

async fn application(call: Arc<Call>) -> Result<Answer, Problem> {
    let mut document = Map::new();
    document.insert("uri".to_owned(), call.links.root().into());
    document.insert("version".to_owned(), VERSION.into());
    let mut tops: Vec<_> = registry::resources().iter().filter_map(|one| one.top).collect();
    tops.sort_by_key(|top| top.path);
    for top in tops {
        let list = call.links.to(format_args!("/{}", top.path));
        if let Some(key) = top.template {
            document.insert(key.to_owned(), format!("{list}/{{id}}").into());
        }
        if let Some(key) = top.list {
            document.insert(key.to_owned(), list.into());
        }
    }
    Ok(Answer::one(&document))
}

async fn document(_call: Arc<Call>) -> Result<Answer, Problem> {
    Ok(Answer::one(&openapi::document(&registry::resources())))
}
