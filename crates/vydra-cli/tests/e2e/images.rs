//! What a container image holds suffices: the program in its root, as its user, which can write to the data alone.

use crate::programs::{self, Ran};
use crate::server::{Server, VYDRA, text};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tokio::process::Command;

const LAYOUT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/image/rootfs.sh");
/// As the image's `USER`.
const USER: &str = "65532:65532";

/// Does what a container's engine does, in a mount namespace of its own, and becomes the program.
const RUN: &str = r#"
mount --bind "$0" "$0"
mount -o remount,bind,ro "$0"
mount --bind "$1" "$0/data"
root=$0
shift
exec chroot --userspec="$USER_OF_IMAGE" "$root" /usr/bin/vydra "$@" --data-dir /data
"#;

struct Image {
    folder: TempDir,
}

impl Image {
    async fn new() -> Self {
        let image = Self {
            folder: TempDir::new().unwrap(),
        };
        let root = image.root();
        done("sh", &[LAYOUT, VYDRA, path(&root)]).await;
        let data = image.folder.path().join("volume");
        std::fs::create_dir(&data).unwrap();
        done("chown", &[USER, path(&data)]).await;
        // Others than root come as far as this.
        done("chmod", &["755", path(image.folder.path())]).await;
        image
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    fn vydra(&self, words: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-euc", RUN])
            .arg(self.root())
            .arg(self.folder.path().join("volume"))
            .args(words)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("USER_OF_IMAGE", USER)
            .env("VYDRA__PROVIDERS__LOCAL__ENABLED", "true");
        command
    }

    async fn json(&self, words: &[&str]) -> Value {
        let words = [words, &["--json"]].concat();
        let ran = programs::run(self.vydra(&words)).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        serde_json::from_str(&ran.stdout).unwrap()
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

async fn done(program: &str, arguments: &[&str]) -> Ran {
    let mut command = Command::new(program);
    command.args(arguments);
    let ran = programs::run(command).await;
    assert_eq!(ran.code, Some(0), "{program}: {ran:?}");
    ran
}

/// Containers need rights that tests do not always have.
async fn may_mount() -> bool {
    let mut command = Command::new("unshare");
    command.args(["--mount", "true"]);
    let may = programs::installed("unshare").await && programs::run(command).await.code == Some(0);
    if !may {
        println!("SKIPPED: a mount namespace needs more rights");
    }
    may
}

#[tokio::test(flavor = "multi_thread")]
async fn the_image_serves_without_rights_on_a_root_that_cannot_be_written() {
    if !may_mount().await {
        return;
    }
    let image = Image::new().await;
    let organization = ["org", "create", "--name", "acme", "--plan", "creator"];
    let org = text(&image.json(&organization).await["id"]);
    let key = text(
        &image
            .json(&["key", "create", "--org", &org, "--test"])
            .await["key"],
    );
    let server = Server::start(image.vydra(&["serve", "--listen", "127.0.0.1:0"])).await;
    let api = server.api(&key);
    let input = json!({"workflow": "generate_image", "input": {"prompt": "a boat"}});
    let job = api.post("jobs", &input).await.expect(201);
    let ended = api.end_of(&text(&job["id"])).await;
    assert_eq!(ended["status"], "completed", "{ended}");
    server.stop().await;

    let shell = image.root().join("bin/sh");
    assert!(!shell.exists(), "the image has a shell");
}
