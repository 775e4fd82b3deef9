//! Threads that let others go first.

/// How much nicer than its process such a thread is. Where all want the processor it gets a ninth of what another thread
/// gets: little, but enough to get on, and to let go soon of a lock that others may want.
#[cfg(target_os = "linux")]
pub(super) const NICENESS: i32 = 10;

/// From now on the calling thread, and each thread that it starts, lets others go first when the processor is wanted. A
/// wish: where the system knows no priorities of threads, or forbids to change them, nothing happens.
#[cfg(target_os = "linux")]
pub fn give_way() {
    // Linux keeps it for each thread; elsewhere it would be the whole process that gives way.
    let _ = rustix::process::nice(NICENESS);
}

/// Nothing: this system keeps no priority for each thread.
#[cfg(not(target_os = "linux"))]
pub fn give_way() {}
