//! `namespace`: the tenants that there are, and what each may have.

use payload_client::{Admin, Quota, v1};
use payload_core::limits;

use super::Server;
use crate::args::NamespaceCommand;
use crate::failure::Failure;
use crate::human;
use crate::json;
use crate::output::Output;

pub(super) async fn run(server: &Server, command: NamespaceCommand, output: &Output) -> Result<(), Failure> {
    let admin = server.admin();
    match command {
        NamespaceCommand::Create {
            name,
            quota_bytes,
            quota_payloads,
        } => {
            let quota = Quota {
                bytes: quota_bytes,
                payloads: quota_payloads,
            };
            let made = admin.create_namespace(&name, quota).await;
            show(
                made.map_err(|error| Failure::new(format!("create namespace {name}"), &error))?,
                output,
            )
        }
        NamespaceCommand::Ls => list(&admin, output).await,
        NamespaceCommand::Show { name } => {
            let found = admin.namespace(&name).await;
            show(
                found.map_err(|error| Failure::new(format!("show namespace {name}"), &error))?,
                output,
            )
        }
        NamespaceCommand::Rm { name, if_version } => {
            let removed = admin.remove_namespace(&name, if_version).await;
            removed.map_err(|error| Failure::new(format!("remove namespace {name}"), &error))?;
            let document = json::RemovedNamespace { name: name.to_string() };
            output.print(&document, |_| format!("{name}  removed"))
        }
    }
}

async fn list(admin: &Admin, output: &Output) -> Result<(), Failure> {
    let mut namespaces = Vec::new();
    let mut token = String::new();
    loop {
        let page = admin.namespaces(limits::PAGE_SIZE_MAX, &token).await;
        let page = page.map_err(|error| Failure::new("list namespaces", &error))?;
        namespaces.extend(page.namespaces.into_iter().map(json::Namespace::from));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    let document = json::Namespaces { namespaces };
    output.print(&document, |output| {
        let header = ["NAME", "QUOTA BYTES", "QUOTA PAYLOADS", "CREATED", "BY"];
        output.table(header, document.namespaces.iter().map(row))
    })
}

fn row(namespace: &json::Namespace) -> [String; 5] {
    [
        namespace.name.clone(),
        bytes(namespace),
        payloads(namespace),
        human::time(namespace.created_at_us),
        namespace.created_by.clone(),
    ]
}

fn show(namespace: v1::Namespace, output: &Output) -> Result<(), Failure> {
    let document = json::OneNamespace {
        namespace: namespace.into(),
    };
    output.print(&document, |_| fields(&document.namespace))
}

fn fields(namespace: &json::Namespace) -> String {
    let fields = [
        ("name", namespace.name.clone()),
        ("version", namespace.version.to_string()),
        ("quota bytes", bytes(namespace)),
        ("quota payloads", payloads(namespace)),
        ("created", human::time(namespace.created_at_us)),
        ("created by", namespace.created_by.clone()),
    ];
    fields.map(|(name, value)| format!("{name:<16}{value}")).join("\n")
}

fn bytes(namespace: &json::Namespace) -> String {
    namespace.quota.bytes.map_or_else(|| "-".to_owned(), human::size)
}

fn payloads(namespace: &json::Namespace) -> String {
    namespace
        .quota
        .payloads
        .map_or_else(|| "-".to_owned(), |count| count.to_string())
}
