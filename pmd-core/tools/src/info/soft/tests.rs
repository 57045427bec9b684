use std::{fs, path::Path};

use super::{HugePages, huge_pages, judge};

#[test]
fn huge_pages_are_read_in_order() {
    let folder = tempfile::tempdir().unwrap();
    for (size, configured) in [(1_048_576, 0), (2048, 12)] {
        let pages = folder.path().join(format!("hugepages-{size}kB"));
        fs::create_dir(&pages).unwrap();
        fs::write(pages.join("nr_hugepages"), format!("{configured}\n")).unwrap();
        fs::write(pages.join("free_hugepages"), "0\n").unwrap();
    }
    let pages = |size_kib, configured| HugePages { size_kib, configured, free: 0 };
    assert_eq!(huge_pages(folder.path()), [pages(2048, 12), pages(1_048_576, 0)]);
    assert_eq!(huge_pages(Path::new("/nonexistent")), []);
}

#[test]
fn copying_between_processes_depends_on_the_call_and_on_yama() {
    assert!(judge(None, None).permitted);
    assert!(judge(None, Some(0)).permitted);
    assert!(judge(None, Some(1)).permitted);
    assert!(!judge(None, Some(2)).permitted);
    assert!(!judge(None, Some(3)).permitted);
    let refused = judge(Some("process_vm_readv: EPERM".into()), Some(0));
    assert_eq!((refused.permitted, refused.reason.as_deref()), (false, Some("process_vm_readv: EPERM")));
}
