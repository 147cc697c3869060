//! The Helm chart: its values against its schema, and what it makes of them against the code.

mod render;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use regex::Regex;
use serde_json::{Value, json};

use super::{config_check, secret_file};

/// What each role may see of the secrets, and no more.
const SECRETS: [(&str, &[&str]); 5] = [
    ("api", &["bootstrap_token", "database_url", "live_url", "secret_key"]),
    ("scheduler", &["database_url", "live_url"]),
    ("dispatcher", &["bus_url", "database_url", "live_url", "secret_key"]),
    ("logsvc", &["database_url", "live_url"]),
    ("builder", &["join_token"]),
];

/// Everything on.
fn everything() -> Value {
    json!({
        "publicUrl": "https://slipway.example.com",
        "blobUrl": "s3://logs/prefix?region=eu-west-1",
        "imagePullSecrets": [{ "name": "pull" }],
        "nodeSelector": { "role": "ci" },
        "tolerations": [{ "key": "ci", "operator": "Exists" }],
        "ingress": { "enabled": true, "tlsSecret": "tls", "agents": { "enabled": true, "tlsSecret": "tls-agents" } },
        "builder": { "enabled": true, "serverUrl": "https://builders.slipway.example.com", "storageClassName": "fast" },
    })
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

fn pods(objects: &[Value]) -> Vec<&Value> {
    let mut pods = of_kind(objects, "Deployment");
    pods.extend(of_kind(objects, "StatefulSet"));
    pods
}

/// The pod's container of our image, and its role.
fn container(workload: &Value) -> Result<(&Value, &str)> {
    let container = &workload["spec"]["template"]["spec"]["containers"][0];
    Ok((container, container["args"][0].as_str().context("a role")?))
}

/// The secrets that lie in a pod's folder of secrets.
fn mounted(workload: &Value) -> BTreeSet<String> {
    let volumes = workload["spec"]["template"]["spec"]["volumes"].as_array().into_iter().flatten();
    let secrets = volumes.filter(|volume| volume["name"] == "secrets");
    let items = secrets.flat_map(|volume| match volume["projected"]["sources"].as_array() {
        Some(sources) => sources.iter().flat_map(|source| source["secret"]["items"].as_array()).flatten().collect(),
        None => Vec::new(),
    });
    let mut found: BTreeSet<String> = items.filter_map(|item| item["path"].as_str().map(str::to_owned)).collect();
    if found.is_empty() {
        // A secret without a list of items is there whole; the builder's has one key.
        found.insert("join_token".to_owned());
    }
    found
}

#[test]
fn values_fit_their_schema_and_wrong_ones_do_not() -> Result<()> {
    render::allowed(&render::values(&json!({}))?)?;
    render::allowed(&render::values(&everything())?)?;
    let wrong = [
        (json!({ "api": { "replicas": 0 } }), "api.replicas"),
        (json!({ "api": { "replica": 2 } }), "values.api"),
        (json!({ "ingres": {} }), "values is"),
        (json!({ "image": { "digest": "latest" } }), "image.digest"),
        (json!({ "publicUrl": "slipway.example.com" }), "publicUrl"),
        (json!({ "blobUrl": "file:///logs" }), "blobUrl"),
        (json!({ "builder": { "terminationGracePeriodSeconds": "2h" } }), "terminationGracePeriodSeconds"),
        (json!({ "networkPolicy": { "builderExceptCidrs": ["10.0.0.0"] } }), "builderExceptCidrs"),
        (json!({ "secrets": { "keys": "" } }), "secrets.keys"),
    ];
    for (over, place) in wrong {
        let refused = render::allowed(&render::values(&over)?);
        ensure!(refused.as_ref().is_err_and(|error| error.to_string().contains(place)), "{over}: {refused:?}");
    }
    Ok(())
}

#[test]
fn what_must_be_said_is_asked_for() -> Result<()> {
    for (missing, over) in [
        ("publicUrl", json!({ "publicUrl": "" })),
        ("blobUrl", json!({ "blobUrl": "" })),
        ("builder.serverUrl", json!({ "builder": { "serverUrl": "" } })),
    ] {
        let mut values = everything();
        for (key, value) in over.as_object().context("a map")? {
            match value {
                Value::Object(inner) => inner.iter().for_each(|(inner, value)| values[key][inner] = value.clone()),
                value => values[key] = value.clone(),
            }
        }
        let refused = render::objects(&values).err().context("rendered without")?;
        ensure!(format!("{refused:#}").contains(missing), "{refused:#}");
    }
    Ok(())
}

#[test]
fn every_role_has_its_settings_its_secrets_and_its_probes() -> Result<()> {
    let objects = render::objects(&everything())?;
    let mut seen = BTreeSet::new();
    for workload in pods(&objects) {
        let (container, role) = container(workload)?;
        seen.insert(role);
        let (_, secrets) = SECRETS.iter().find(|(known, _)| *known == role).context("a role")?;
        let expected: BTreeSet<String> = secrets.iter().map(|secret| (*secret).to_owned()).collect();
        assert_eq!(mounted(workload), expected, "{role}");
        let files = tempfile::tempdir()?;
        let mut variables = BTreeMap::new();
        for variable in container["env"].as_array().context("variables")? {
            let Some(value) = variable["value"].as_str() else { continue };
            let value = match value.strip_prefix("/run/slipway/") {
                Some(key) => {
                    ensure!(expected.contains(key), "{role} is told of {key}, which it does not have");
                    secret_file(files.path(), key)?.display().to_string()
                }
                None => value.to_owned(),
            };
            variables.insert(variable["name"].as_str().context("a name")?.to_owned(), value);
        }
        let checked = config_check(&variables)?;
        for secret in *secrets {
            ensure!(checked[*secret].contains("_FILE"), "{role}: {secret} is {}", checked[*secret]);
        }
        if role != "builder" {
            assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/livez");
            assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/readyz");
            ensure!(checked["listen"].contains(&format!(":{}", container["ports"][0]["containerPort"])));
        }
        let hardened = &container["securityContext"];
        assert_eq!(
            (&hardened["allowPrivilegeEscalation"], &hardened["readOnlyRootFilesystem"]),
            (&json!(false), &json!(true))
        );
    }
    assert_eq!(seen, SECRETS.iter().map(|(role, _)| *role).collect());
    Ok(())
}

#[test]
fn names_lead_to_pods() -> Result<()> {
    let objects = render::objects(&everything())?;
    let labels: Vec<&Value> = pods(&objects).iter().map(|pod| &pod["spec"]["template"]["metadata"]["labels"]).collect();
    let selects = |selector: &Value| {
        let wanted = selector.as_object().filter(|wanted| !wanted.is_empty());
        wanted.is_some_and(|wanted| labels.iter().any(|has| wanted.iter().all(|(key, value)| &has[key] == value)))
    };
    for pod in pods(&objects) {
        ensure!(selects(&pod["spec"]["selector"]["matchLabels"]), "{} selects nothing", name(pod));
    }
    for budget in of_kind(&objects, "PodDisruptionBudget") {
        ensure!(selects(&budget["spec"]["selector"]["matchLabels"]), "{} selects nothing", name(budget));
    }
    for policy in of_kind(&objects, "NetworkPolicy") {
        ensure!(selects(&policy["spec"]["podSelector"]["matchLabels"]), "{} selects nothing", name(policy));
    }
    let services: BTreeMap<&str, &Value> =
        of_kind(&objects, "Service").into_iter().map(|one| (name(one), one)).collect();
    for (name, service) in &services {
        let nobody = *name == "prod-nobody";
        ensure!(selects(&service["spec"]["selector"]) != nobody, "{name}");
    }
    let mut routes = BTreeMap::new();
    for ingress in of_kind(&objects, "Ingress") {
        for path in ingress["spec"]["rules"][0]["http"]["paths"].as_array().context("paths")? {
            let service = path["backend"]["service"]["name"].as_str().context("a service")?;
            ensure!(services.contains_key(service), "there is no {service}");
            routes.insert(path["path"].as_str().context("a path")?, service);
        }
    }
    let expected = BTreeMap::from([
        ("/", "prod-api"),
        ("/metrics", "prod-nobody"),
        ("/api/v1/jobs/([^/]+)/log.*", "prod-logsvc"),
        ("/agent/v1/", "prod-dispatcher"),
        ("/agent/v1/attempts/([^/]+)/[^/]+/log.*", "prod-logsvc"),
    ]);
    assert_eq!(routes, expected);
    assert_eq!(of_kind(&objects, "PodDisruptionBudget").len(), 4);
    Ok(())
}

/// As ingress-nginx does it: by what the path captures, for all paths of an Ingress.
#[test]
fn writers_and_viewers_of_a_log_meet_in_one_process() -> Result<()> {
    let objects = render::objects(&everything())?;
    let asked = ["/api/v1/jobs/j1/log/stream", "/agent/v1/attempts/j1/3/log", "/agent/v1/attempts/j1/3/log/end"];
    let mut keys = BTreeMap::new();
    for ingress in of_kind(&objects, "Ingress") {
        let by = &ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/upstream-hash-by"];
        for path in ingress["spec"]["rules"][0]["http"]["paths"].as_array().context("paths")? {
            let is_log = path["backend"]["service"]["name"] == "prod-logsvc";
            assert_eq!(by, &if is_log { json!("$1") } else { json!(null) }, "{}", name(ingress));
            let pattern = Regex::new(&format!("^{}", path["path"].as_str().context("a path")?))?;
            for asked in asked.into_iter().filter(|_| is_log) {
                let key = pattern.captures(asked).map(|found| found[1].to_owned());
                keys.extend(key.map(|key| (asked, key)));
            }
        }
    }
    assert_eq!(keys, asked.map(|asked| (asked, "j1".to_owned())).into());
    Ok(())
}

#[test]
fn a_builder_has_time_and_its_engine_to_the_end() -> Result<()> {
    let objects = render::objects(&everything())?;
    let [builder] = of_kind(&objects, "StatefulSet")[..] else { anyhow::bail!("one set of builders") };
    let pod = &builder["spec"]["template"]["spec"];
    assert_eq!(pod["terminationGracePeriodSeconds"], 7200);
    // A sidecar ends after the containers.
    let engine = &pod["initContainers"][0];
    assert_eq!((&engine["name"], &engine["restartPolicy"]), (&json!("engine"), &json!("Always")));
    let socket =
        |of: &Value| of["volumeMounts"].as_array().is_some_and(|all| all.iter().any(|at| at["name"] == "socket"));
    ensure!(socket(engine) && socket(&pod["containers"][0]), "they do not share the socket");
    Ok(())
}

#[test]
fn what_is_off_is_not_there() -> Result<()> {
    let off = json!({
        "publicUrl": "https://slipway.example.com", "blobUrl": "s3://logs",
        "networkPolicy": { "enabled": false }, "podDisruptionBudget": false, "metricsAnnotations": false,
    });
    let objects = render::objects(&off)?;
    let kinds: BTreeSet<&str> = objects.iter().filter_map(|object| object["kind"].as_str()).collect();
    assert_eq!(kinds, BTreeSet::from(["Deployment", "Service"]));
    let one = json!({ "publicUrl": "https://s.example", "blobUrl": "s3://logs", "api": { "replicas": 1 } });
    let budgets = render::objects(&one)?;
    assert_eq!(of_kind(&budgets, "PodDisruptionBudget").len(), 3, "one pod that may not go blocks its node for ever");
    Ok(())
}
