//! What the variables of clouds tell: of functions, containers and web applications that a cloud runs.

use super::{Machine, Merged};

/// What a cloud is known by.
pub(super) fn detect(machine: &Machine, found: &mut Merged) {
    let has = |name: &str| machine.variable(name).is_some();
    if has("AWS_LAMBDA_FUNCTION_NAME") {
        lambda(machine, found);
    } else if has("ECS_CONTAINER_METADATA_URI_V4") || has("ECS_CONTAINER_METADATA_URI") {
        ecs(machine, found);
    } else if has("WEBSITE_SITE_NAME") || has("CONTAINER_APP_NAME") {
        azure(machine, found);
    } else if has("GAE_SERVICE") || has("CLOUD_RUN_JOB") || has("K_SERVICE") {
        google(machine, found);
    } else if has("HEROKU_APP_ID") {
        heroku(machine, found);
    }
}

fn set_all(machine: &Machine, found: &mut Merged, pairs: &[(&str, &[&str])]) {
    for (key, names) in pairs {
        found.set_known(key, machine.any_variable(names));
    }
}

/// <https://opentelemetry.io/docs/specs/semconv/resource/faas/>,
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>
fn lambda(machine: &Machine, found: &mut Merged) {
    found.set("cloud.provider", "aws");
    found.set("cloud.platform", "aws_lambda");
    set_all(
        machine,
        found,
        &[
            ("cloud.region", &["AWS_REGION", "AWS_DEFAULT_REGION"]),
            ("faas.name", &["AWS_LAMBDA_FUNCTION_NAME"]),
            ("faas.version", &["AWS_LAMBDA_FUNCTION_VERSION"]),
            ("faas.instance", &["AWS_LAMBDA_LOG_STREAM_NAME"]),
        ],
    );
    let megabytes = machine.variable("AWS_LAMBDA_FUNCTION_MEMORY_SIZE");
    if let Some(bytes) = megabytes.and_then(|size| size.parse::<i64>().ok()?.checked_mul(1 << 20)) {
        found.set("faas.max_memory", bytes);
    }
    for (key, name) in [
        ("aws.log.group.names", "AWS_LAMBDA_LOG_GROUP_NAME"),
        ("aws.log.stream.names", "AWS_LAMBDA_LOG_STREAM_NAME"),
    ] {
        if let Some(value) = machine.variable(name) {
            found.set(key, vec![value]);
        }
    }
}

/// What is known without the metadata endpoint of the task, which is not asked.
fn ecs(machine: &Machine, found: &mut Merged) {
    found.set("cloud.provider", "aws");
    found.set("cloud.platform", "aws_ecs");
    found.set_known(
        "cloud.region",
        machine.any_variable(&["AWS_REGION", "AWS_DEFAULT_REGION"]),
    );
    let launch = match machine.variable("AWS_EXECUTION_ENV") {
        Some("AWS_ECS_FARGATE") => Some("fargate"),
        Some("AWS_ECS_EC2") => Some("ec2"),
        _ => None,
    };
    found.set_known("aws.ecs.launchtype", launch);
}

/// <https://learn.microsoft.com/azure/app-service/reference-app-settings>,
/// <https://learn.microsoft.com/azure/container-apps/environment-variables>
fn azure(machine: &Machine, found: &mut Merged) {
    found.set("cloud.provider", "azure");
    let is_function = machine
        .any_variable(&["FUNCTIONS_EXTENSION_VERSION", "FUNCTIONS_WORKER_RUNTIME"])
        .is_some();
    let Some(site) = machine.variable("WEBSITE_SITE_NAME") else {
        found.set("cloud.platform", "azure.container_apps");
        set_all(
            machine,
            found,
            &[
                ("service.name", &["CONTAINER_APP_NAME"]),
                ("service.version", &["CONTAINER_APP_REVISION"]),
                ("service.instance.id", &["CONTAINER_APP_REPLICA_NAME"]),
            ],
        );
        return;
    };
    found.set_known("cloud.region", machine.variable("REGION_NAME"));
    // As in `<subscription>+<resource group>-<region>webspace`.
    let owner = machine
        .variable("WEBSITE_OWNER_NAME")
        .and_then(|owner| owner.split_once('+'));
    let group = machine.variable("WEBSITE_RESOURCE_GROUP");
    if let (Some((subscription, _)), Some(group)) = (owner, group) {
        found.set("cloud.account.id", subscription);
        let id = format!(
            "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Web/sites/{site}"
        );
        found.set("cloud.resource_id", id);
    }
    if is_function {
        found.set("cloud.platform", "azure.functions");
        found.set("faas.name", site);
        set_all(
            machine,
            found,
            &[
                ("faas.version", &["FUNCTIONS_EXTENSION_VERSION"]),
                ("faas.instance", &["WEBSITE_INSTANCE_ID"]),
            ],
        );
        let megabytes = machine.variable("WEBSITE_MEMORY_LIMIT_MB");
        if let Some(bytes) = megabytes.and_then(|size| size.parse::<i64>().ok()?.checked_mul(1 << 20)) {
            found.set("faas.max_memory", bytes);
        }
        return;
    }
    found.set("cloud.platform", "azure.app_service");
    set_all(
        machine,
        found,
        &[
            ("service.name", &["WEBSITE_SITE_NAME"]),
            ("service.instance.id", &["WEBSITE_INSTANCE_ID"]),
            ("deployment.environment.name", &["WEBSITE_SLOT_NAME"]),
            ("host.id", &["WEBSITE_HOSTNAME"]),
        ],
    );
}

/// <https://cloud.google.com/run/docs/container-contract#env-vars>,
/// <https://cloud.google.com/appengine/docs/flexible/python/runtime#environment_variables>
fn google(machine: &Machine, found: &mut Merged) {
    // Knative has the variables of Cloud Run in any cluster.
    if machine.variable("KUBERNETES_SERVICE_HOST").is_some() {
        set_all(
            machine,
            found,
            &[("faas.name", &["K_SERVICE"]), ("faas.version", &["K_REVISION"])],
        );
        return;
    }
    found.set("cloud.provider", "gcp");
    set_all(
        machine,
        found,
        &[
            (
                "cloud.account.id",
                &["GOOGLE_CLOUD_PROJECT", "GCP_PROJECT", "GCLOUD_PROJECT"],
            ),
            (
                "cloud.region",
                &["GOOGLE_CLOUD_REGION", "CLOUD_RUN_REGION", "FUNCTION_REGION"],
            ),
        ],
    );
    let platform = if machine.variable("GAE_SERVICE").is_some() {
        set_all(
            machine,
            found,
            &[
                ("faas.name", &["GAE_SERVICE"]),
                ("faas.version", &["GAE_VERSION"]),
                ("faas.instance", &["GAE_INSTANCE"]),
            ],
        );
        "gcp_app_engine"
    } else if machine.variable("CLOUD_RUN_JOB").is_some() {
        set_all(
            machine,
            found,
            &[
                ("faas.name", &["CLOUD_RUN_JOB"]),
                ("gcp.cloud_run.job.execution", &["CLOUD_RUN_EXECUTION"]),
            ],
        );
        let index = machine.variable("CLOUD_RUN_TASK_INDEX");
        if let Some(index) = index.and_then(|index| index.parse::<i64>().ok()) {
            found.set("gcp.cloud_run.job.task_index", index);
        }
        "gcp_cloud_run"
    } else {
        set_all(
            machine,
            found,
            &[("faas.name", &["K_SERVICE"]), ("faas.version", &["K_REVISION"])],
        );
        match machine.variable("FUNCTION_TARGET") {
            Some(_) => "gcp_cloud_functions",
            None => "gcp_cloud_run",
        }
    };
    found.set("cloud.platform", platform);
}

/// <https://devcenter.heroku.com/articles/dyno-metadata>
fn heroku(machine: &Machine, found: &mut Merged) {
    found.set("cloud.provider", "heroku");
    set_all(
        machine,
        found,
        &[
            ("heroku.app.id", &["HEROKU_APP_ID"]),
            ("service.name", &["HEROKU_APP_NAME"]),
            ("service.version", &["HEROKU_RELEASE_VERSION"]),
            ("service.instance.id", &["HEROKU_DYNO_ID"]),
            (
                "heroku.release.commit",
                &["HEROKU_SLUG_COMMIT", "HEROKU_BUILD_COMMIT"],
            ),
            (
                "heroku.release.creation_timestamp",
                &["HEROKU_RELEASE_CREATED_AT"],
            ),
        ],
    );
}
