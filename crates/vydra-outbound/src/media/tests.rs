use super::*;
use std::fs;
use std::time::{Duration, UNIX_EPOCH};
use tempfile::TempDir;

fn store() -> (TempDir, MediaStore) {
    let folder = TempDir::new().unwrap();
    let store = MediaStore::folder(&folder.path().join("deep").join("media")).unwrap();
    (folder, store)
}

async fn collect(mut stream: BoxStream<'static, Result<Bytes, MediaError>>) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(chunk) = stream.next().await {
        all.extend_from_slice(&chunk.unwrap());
    }
    all
}

#[tokio::test]
async fn what_is_put_is_read() {
    let (folder, store) = store();
    let bytes = Bytes::from(vec![7; 100_000]);
    store.put("o/ab/abcdef.png", bytes.clone()).await.unwrap();
    assert_eq!(store.read("o/ab/abcdef.png", 100_000).await.unwrap(), bytes);
    let on_disk = folder.path().join("deep/media/o/ab/abcdef.png");
    assert_eq!(fs::read(on_disk).unwrap(), bytes);
}

#[tokio::test]
async fn an_empty_file_is_a_file() {
    let (_folder, store) = store();
    store.put("empty", Bytes::new()).await.unwrap();
    let file = store.open("empty", None).await.unwrap();
    assert_eq!((file.size, file.range.clone()), (0, 0..0));
    assert_eq!(collect(file.stream).await, b"");
    assert!(store.read("empty", 0).await.unwrap().is_empty());
}

#[tokio::test]
async fn reading_whole_has_a_limit() {
    let (_folder, store) = store();
    store.put("a", Bytes::from_static(b"12345")).await.unwrap();
    assert_eq!(store.read("a", 5).await.unwrap().as_ref(), b"12345");
    let refused = store.read("a", 4).await;
    assert!(matches!(refused, Err(MediaError::TooLarge)), "{refused:?}");
}

#[tokio::test]
async fn ranges_are_cut_at_the_end() {
    let (_folder, store) = store();
    // Larger than one chunk of the storage's own streams.
    let all: Vec<u8> = (0..50_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    store.put("a.bin", Bytes::from(all.clone())).await.unwrap();
    for (asked, given) in [
        (0..1, 0..1),
        (0..50_000, 0..50_000),
        (9..40_000, 9..40_000),
        (49_999..50_000, 49_999..50_000),
        (49_990..u64::MAX, 49_990..50_000),
    ] {
        let file = store.open("a.bin", Some(asked)).await.unwrap();
        assert_eq!((file.size, file.range.clone()), (50_000, given.clone()));
        let part = usize::try_from(given.start).unwrap()..usize::try_from(given.end).unwrap();
        assert_eq!(collect(file.stream).await, &all[part]);
    }
    #[expect(
        clippy::reversed_empty_ranges,
        reason = "a caller of the API can ask for it"
    )]
    for asked in [50_000..50_001, 60_000..70_000, 5..5, 6..5] {
        let refused = store.open("a.bin", Some(asked)).await;
        assert!(
            matches!(refused, Err(MediaError::Range { size: 50_000 })),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let (_folder, store) = store();
    store.put("o/a", Bytes::from_static(b"a")).await.unwrap();
    for key in ["o/b", "p", "o", "o/a/b"] {
        let refused = store.open(key, None).await;
        assert!(refused.is_err(), "{key}: {refused:?}");
    }
    for key in ["o/b", "p"] {
        assert!(matches!(
            store.read(key, 9).await,
            Err(MediaError::NotFound)
        ));
        assert!(matches!(
            store.open(key, Some(0..1)).await,
            Err(MediaError::NotFound)
        ));
    }
}

#[tokio::test]
async fn deleting_twice_is_deleting() {
    let (_folder, store) = store();
    store.put("o/a", Bytes::from_static(b"a")).await.unwrap();
    store.delete("o/a").await.unwrap();
    assert!(matches!(
        store.read("o/a", 9).await,
        Err(MediaError::NotFound)
    ));
    store.delete("o/a").await.unwrap();
    store.delete("never/was").await.unwrap();
}

#[tokio::test]
async fn keys_that_we_would_not_make_name_nothing() {
    let (folder, store) = store();
    let outside = folder.path().join("deep").join("secret");
    fs::write(&outside, b"secret").unwrap();
    let long = "a".repeat(MAX_KEY_LENGTH + 1);
    for key in [
        "",
        "/",
        "/o",
        "o/",
        "o//a",
        ".",
        "..",
        "../secret",
        "o/../../secret",
        "o/..",
        "o/.hidden",
        "a..b",
        "O",
        "o/\u{e4}",
        "o/a b",
        "o/a\0",
        "o/a\n",
        "o\\a",
        "..\\secret",
        "%2e%2e/secret",
        "o/a#1",
        "o/a?b",
        "c:a",
        "~",
        long.as_str(),
    ] {
        let put = store.put(key, Bytes::from_static(b"x")).await;
        assert!(matches!(put, Err(MediaError::NotFound)), "{key:?}: {put:?}");
        let read = store.read(key, 9).await;
        assert!(matches!(read, Err(MediaError::NotFound)), "{key:?}");
        let open = store.open(key, Some(0..1)).await;
        assert!(matches!(open, Err(MediaError::NotFound)), "{key:?}");
        let delete = store.delete(key).await;
        assert!(matches!(delete, Err(MediaError::NotFound)), "{key:?}");
    }
    assert_eq!(fs::read(&outside).unwrap(), b"secret");
    let left = fs::read_dir(folder.path().join("deep/media"))
        .unwrap()
        .count();
    assert_eq!(left, 0);
}

/// Who reads while another writes sees the old file or the new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_replaced_at_once() {
    const SIZE: usize = 300_000;
    let (folder, store) = store();
    store.put("a", Bytes::from(vec![0_u8; SIZE])).await.unwrap();
    let writes = async {
        for round in 1..=20_u8 {
            store
                .put("a", Bytes::from(vec![round; SIZE - usize::from(round)]))
                .await
                .unwrap();
        }
    };
    let reads = async {
        for _ in 0..60 {
            let seen = store.read("a", 1_000_000).await.unwrap();
            let round = seen[0];
            assert_eq!(seen.len(), SIZE - usize::from(round));
            assert!(seen.iter().all(|byte| *byte == round));
        }
    };
    tokio::join!(writes, reads);
    let left = fs::read_dir(folder.path().join("deep/media"))
        .unwrap()
        .count();
    assert_eq!(left, 1, "nothing but the file itself may stay");
}

/// A folder in the way rather than a mode without `w`: tests may run as a user to whom modes mean nothing.
#[tokio::test]
async fn a_failed_write_leaves_nothing() {
    let (folder, store) = store();
    let media = folder.path().join("deep/media");
    fs::create_dir_all(media.join("o/a/below")).unwrap();
    let refused = store.put("o/a", Bytes::from_static(b"x")).await;
    assert!(
        matches!(refused, Err(MediaError::Storage(_))),
        "{refused:?}"
    );
    let left: Vec<_> = fs::read_dir(media.join("o"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["a"]);
}

#[tokio::test]
async fn says_whether_it_can_be_written() {
    let (folder, store) = store();
    store.check_writable().await.unwrap();
    assert!(matches!(
        store.read(PROBE_KEY, 99).await,
        Err(MediaError::NotFound)
    ));

    let media = folder.path().join("deep/media");
    fs::remove_dir_all(&media).unwrap();
    fs::write(&media, b"not a folder").unwrap();
    let refused = store.check_writable().await;
    assert!(
        matches!(refused, Err(MediaError::Storage(_))),
        "{refused:?}"
    );
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, b"").unwrap();
    for root in [file.join("below"), file] {
        assert!(MediaStore::folder(&root).is_err(), "{}", root.display());
    }
}

#[test]
fn errors_name_no_path() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, b"").unwrap();
    let error = MediaStore::folder(&file.join("below")).unwrap_err();
    assert_eq!(error.to_string(), "the media storage failed");
}

#[tokio::test]
async fn a_file_that_is_written_in_pieces_is_there_at_the_end_and_not_before() {
    let (_folder, store) = store();
    let bytes: Vec<u8> = (0..64 * 1_024 * 2 + 77_u32)
        .map(|n| n.to_le_bytes()[0])
        .collect();
    let mut writer = store.create("a/whole.png").unwrap();
    for piece in bytes.chunks(70_001) {
        writer.write(piece).await.unwrap();
        let early = store.open("a/whole.png", None).await;
        assert!(matches!(early, Err(MediaError::NotFound)), "{early:?}");
    }
    writer.finish().await.unwrap();
    let size = u64::try_from(bytes.len()).unwrap();
    assert_eq!(store.read("a/whole.png", size).await.unwrap(), bytes);
}

#[tokio::test]
async fn a_file_that_is_given_up_leaves_nothing() {
    let (folder, store) = store();
    let mut writer = store.create("a/half.png").unwrap();
    writer.write(&vec![1; 64 * 1_024 * 3]).await.unwrap();
    let left = || fs::read_dir(folder.path().join("deep/media/a")).unwrap();
    assert_eq!(left().count(), 1);
    drop(writer);
    store.settled().await;
    assert_eq!(left().count(), 0);
}

// --- What lies in the storage ---

async fn listed(store: &MediaStore) -> Vec<StoredFile> {
    let listed = store.list().map(|file| file.unwrap());
    let mut files: Vec<StoredFile> = listed.collect().await;
    files.sort_by(|one, other| one.name.cmp(&other.name));
    files
}

/// As the engine makes them.
fn key(number: u32) -> String {
    let shard = number % 7;
    format!("{shard:02x}/{shard:02x}{number:038x}.png")
}

/// What others may keep beside our files.
fn strangers() -> Vec<String> {
    let name = "ab".repeat(20);
    [
        "backup.db",
        "backups/x.db",
        "aa/Thumbs.db",
        "aa/x.png",
        ".trash",
        "aa/x y.png",
        "probe/other",
        "probe/writable.thumb.jpg",
    ]
    .into_iter()
    .map(str::to_owned)
    .chain([
        format!("prod/ab/{name}.png"),
        format!("ab/cd/ab/{name}.png"),
        format!("aa/{name}.png"),
        format!("a/{name}.png"),
        format!("aba/{name}.png"),
        format!("{name}.png"),
        format!("ab/{name}"),
        format!("ab/{name}."),
        format!("ab/{name}.PNG"),
        format!("ab/{name}0.png"),
        format!("ab/{}.png", &name[1..]),
        format!("ab/{}g.png", &name[1..]),
        format!("ab/{}.png", name.to_uppercase()),
        format!("ab/{name}.png.bak"),
        format!("ab/{name}.png.thumb.jpg.thumb.jpg"),
        format!("ab/{name}.thumb.jpg"),
        format!("ab/{name}.png#"),
        format!("ab/{name}.png#a"),
        format!("ab/{name}.png#1#1"),
    ])
    .collect()
}

#[tokio::test]
async fn everything_is_listed_and_can_be_removed() {
    let folder = tempfile::tempdir().unwrap();
    let store = MediaStore::folder(folder.path()).unwrap();
    assert_eq!(listed(&store).await, []);
    let at = |name: &str| folder.path().join(name);
    let write = |name: &str| {
        fs::create_dir_all(at(name).parent().unwrap()).unwrap();
        fs::write(at(name), "1234567").unwrap();
        let file = fs::File::options().write(true).open(at(name)).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_millis(1_500))
            .unwrap();
    };
    let mut ours: Vec<String> = (0..600).map(key).collect();
    ours.push(format!("{}.thumb.jpg", key(1)));
    ours.push(PROBE_KEY.to_owned());
    for name in ours.iter().chain(&strangers()) {
        write(name);
    }
    let unfinished = format!("{}#", key(600));
    let mut writer = store.create(&key(600)).unwrap();
    writer.write(&vec![0; 100_000]).await.unwrap();
    let files = listed(&store).await;
    let (begun, finished): (Vec<_>, Vec<_>) = files.iter().partition(|file| file.is_unfinished);
    ours.sort();
    let names: Vec<&String> = finished.iter().map(|file| &file.name).collect();
    assert_eq!(names, ours.iter().collect::<Vec<_>>());
    assert_eq!(begun.len(), 1);
    assert!(begun[0].name.starts_with(&unfinished));
    for file in &finished {
        assert_eq!(file.bytes, 7);
        assert_eq!(file.modified_at, Timestamp::from_micros(1_500_000));
    }
    std::mem::forget(writer);
    for file in &files {
        store.remove(file).await.unwrap();
        store.remove(file).await.unwrap();
    }
    assert_eq!(listed(&store).await, []);
    for stranger in strangers() {
        assert!(at(&stranger).exists(), "{stranger}");
    }
}

#[tokio::test]
async fn another_storage_lists_what_it_has() {
    let memory = Arc::new(object_store::memory::InMemory::new());
    let store = MediaStore::over(Arc::clone(&memory) as Arc<dyn ObjectStore>, 1_024);
    for stranger in strangers() {
        let location = StorePath::from(stranger.as_str());
        memory.put(&location, "x".into()).await.unwrap();
    }
    let key = key(1);
    store.put(&key, "12345".into()).await.unwrap();
    let files = listed(&store).await;
    assert_eq!(files.len(), 1, "{files:?}");
    assert_eq!((&files[0].name, files[0].bytes), (&key, 5));
    assert_eq!(store.size(&key).await.unwrap(), Some(5));
    store.remove(&files[0]).await.unwrap();
    assert_eq!(store.size(&key).await.unwrap(), None);
    assert_eq!(listed(&store).await, []);
}
