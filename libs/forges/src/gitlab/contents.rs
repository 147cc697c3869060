//! Files at a commit (`GET /projects/:id/repository/files/:path/raw?ref=`).

use gitlab::api::projects::repository::files::FileRaw;
use gitlab::api::{AsyncQuery as _, raw};

use super::client::{Client, sort};
use crate::contents::{FileAt, text};
use crate::transport::{ForgeError, Transport};

pub(crate) async fn read_file(transport: &Transport, file: &FileAt<'_>) -> Result<Option<String>, ForgeError> {
    let request = FileRaw::builder()
        .project(file.repo)
        .file_path(file.path)
        .ref_(file.commit)
        .build()
        .map_err(|e| ForgeError::Invalid(format!("the file cannot be asked for: {e}")))?;
    let answer: Result<Vec<u8>, _> = raw(request).query_async(&Client(transport)).await;
    match answer.map_err(sort) {
        Ok(bytes) => text(bytes).map(Some),
        // Only these words say that project and commit are there; a hidden project is "404 Project Not Found".
        Err(Err(ForgeError::NotFound(message))) if message.contains("File Not Found") => Ok(None),
        Err(Err(e)) => Err(e),
        Err(Ok(())) => Err(ForgeError::Transient("its answer is not what GitLab sends".to_owned())),
    }
}
