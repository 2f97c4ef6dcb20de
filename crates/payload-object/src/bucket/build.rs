//! Makes the library's client for a bucket.

use std::sync::{Arc, Once};

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::client::{HttpClient, HttpConnector};
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::multipart::MultipartStore;
use object_store::signer::Signer;
use object_store::{BackoffConfig, Certificate, ClientOptions, ObjectStore, RetryConfig};
use payload_core::{Error, Reason, Result, Span};

use super::credentials::KeyFile;
use super::options::{Addressing, BucketOptions, Credentials, Place};
use super::wire::Connector;

/// How long a connection may take to come about.
const CONNECT: Span = Span::from_secs(5);

/// The library's client, by what it can do.
pub(super) struct Client {
    pub(super) objects: Arc<dyn ObjectStore>,
    pub(super) parts: Arc<dyn MultipartStore>,
    pub(super) signer: Arc<dyn Signer>,
    /// To send what the library has no call for; S3 alone.
    pub(super) s3_http: Option<HttpClient>,
    /// Keys that are read from a file.
    pub(super) keys: Option<Arc<KeyFile>>,
}

impl Client {
    pub(super) fn new(options: &BucketOptions, connector: &Connector) -> Result<Self> {
        // The cryptography of TLS is chosen once for the process; whoever chose before was as right.
        static RING: Once = Once::new();
        RING.call_once(|| drop(tokio_rustls::rustls::crypto::ring::default_provider().install_default()));
        match &options.place {
            Place::S3 { bucket } => s3(options, connector, bucket),
            Place::Gcs { bucket } => gcs(options, connector, bucket),
            Place::Azure { account, container } => azure(options, connector, account, container),
            Place::Directory(_) => Err(Error::new(Reason::Internal, "a directory is no bucket")),
        }
    }
}

fn s3(options: &BucketOptions, connector: &Connector, bucket: &str) -> Result<Client> {
    let mut builder = match &options.credentials {
        Credentials::Environment => s3_from_env(),
        Credentials::File(_) | Credentials::InstanceRole => AmazonS3Builder::new(),
    };
    builder = builder
        .with_bucket_name(bucket)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_virtual_hosted_style_request(options.addressing == Addressing::Host)
        .with_client_options(client_options(options)?)
        .with_retry(retries(options))
        .with_http_connector(connector.clone());
    if let Some(endpoint) = &options.endpoint {
        builder = builder.with_endpoint(match options.addressing {
            Addressing::Path => endpoint.clone(),
            Addressing::Host => endpoint.replacen("://", &format!("://{bucket}."), 1),
        });
    }
    if let Some(region) = &options.region {
        builder = builder.with_region(region);
    }
    let keys = match &options.credentials {
        Credentials::File(path) => Some(Arc::new(KeyFile::new(path.clone()))),
        Credentials::Environment | Credentials::InstanceRole => None,
    };
    if let Some(keys) = &keys {
        builder = builder.with_credentials(Arc::clone(keys) as _);
    }
    let s3 = Arc::new(builder.build().map_err(unusable)?);
    Ok(Client {
        objects: Arc::clone(&s3) as _,
        parts: Arc::clone(&s3) as _,
        signer: s3,
        s3_http: Some(connector.connect(&client_options(options)?).map_err(unusable)?),
        keys,
    })
}

/// Who asks, and where: nothing else in the environment changes what is asked.
fn s3_from_env() -> AmazonS3Builder {
    use AmazonS3ConfigKey as Key;
    let taken = |key: &Key| {
        matches!(
            key,
            Key::AccessKeyId
                | Key::SecretAccessKey
                | Key::Token
                | Key::Region
                | Key::DefaultRegion
                | Key::WebIdentityTokenFile
                | Key::RoleArn
                | Key::RoleSessionName
                | Key::StsEndpoint
                | Key::ContainerCredentialsRelativeUri
                | Key::ContainerCredentialsFullUri
                | Key::ContainerAuthorizationTokenFile
        )
    };
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with("AWS_"))
        .filter_map(|(name, value)| Some((name.to_ascii_lowercase().parse::<Key>().ok()?, value)))
        .filter(|(key, _)| taken(key))
        .fold(AmazonS3Builder::new(), |builder, (key, value)| {
            builder.with_config(key, value)
        })
}

fn gcs(options: &BucketOptions, connector: &Connector, bucket: &str) -> Result<Client> {
    let mut builder = match &options.credentials {
        Credentials::Environment => GoogleCloudStorageBuilder::from_env(),
        Credentials::File(path) => {
            GoogleCloudStorageBuilder::new().with_service_account_path(path.display().to_string())
        }
        Credentials::InstanceRole => GoogleCloudStorageBuilder::new(),
    };
    builder = builder
        .with_bucket_name(bucket)
        .with_client_options(client_options(options)?)
        .with_retry(retries(options))
        .with_http_connector(connector.clone());
    if let Some(endpoint) = &options.endpoint {
        builder = builder.with_base_url(endpoint);
    }
    let gcs = Arc::new(builder.build().map_err(unusable)?);
    Ok(Client {
        objects: Arc::clone(&gcs) as _,
        parts: Arc::clone(&gcs) as _,
        signer: gcs,
        s3_http: None,
        keys: None,
    })
}

fn azure(options: &BucketOptions, connector: &Connector, account: &str, container: &str) -> Result<Client> {
    let mut builder = match &options.credentials {
        Credentials::Environment => MicrosoftAzureBuilder::from_env(),
        Credentials::File(path) => MicrosoftAzureBuilder::new().with_access_key(key_in(path)?),
        Credentials::InstanceRole => MicrosoftAzureBuilder::new(),
    };
    builder = builder
        .with_account(account)
        .with_container_name(container)
        .with_client_options(client_options(options)?)
        .with_retry(retries(options))
        .with_http_connector(connector.clone());
    if let Some(endpoint) = &options.endpoint {
        builder = builder.with_endpoint(endpoint.clone());
    }
    let azure = Arc::new(builder.build().map_err(unusable)?);
    Ok(Client {
        objects: Arc::clone(&azure) as _,
        parts: Arc::clone(&azure) as _,
        signer: azure,
        s3_http: None,
        keys: None,
    })
}

/// The account's key stands alone in its file.
fn key_in(path: &std::path::Path) -> Result<String> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let message = format!("cannot read the credentials in {}", path.display());
        Error::new(Reason::ObjectStoreDenied, message).source(error)
    })?;
    Ok(text.trim().to_owned())
}

fn client_options(options: &BucketOptions) -> Result<ClientOptions> {
    let mut client = ClientOptions::new()
        .with_connect_timeout(CONNECT.min(options.budget))
        // Each wait has an end of its own; a time for all of a request would count what the receiver of its bytes needs.
        .with_timeout_disabled()
        .with_pool_max_idle_per_host(options.concurrency)
        // Only an address that says so itself is spoken to in the clear.
        .with_allow_http(options.endpoint.as_ref().is_some_and(|url| url.starts_with("http://")));
    if let Some(path) = &options.ca_file {
        let pem = std::fs::read(path).map_err(|error| {
            let message = format!("cannot read the certificates in {}", path.display());
            Error::new(Reason::ObjectStoreUnfit, message).source(error)
        })?;
        for certificate in Certificate::from_pem_bundle(&pem).map_err(unusable)? {
            client = client.with_root_certificate(certificate);
        }
    }
    Ok(client)
}

/// Attempts until the budget of time is used up; their number is only there so that it has a bound.
fn retries(options: &BucketOptions) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Span::from_millis(50),
            max_backoff: Span::from_secs(5),
            base: 2.0,
        },
        max_retries: 30,
        retry_timeout: options.budget,
    }
}

fn unusable(error: object_store::Error) -> Error {
    Error::new(Reason::ObjectStoreUnfit, "the object store's settings cannot be used").source(error)
}
