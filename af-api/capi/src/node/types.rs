//! What C programs see of a cluster: its shape, its members, what happens to it.

use af_api::{
    config::Shape,
    rendezvous::{Barrier, Event, Member, MemberState, Roles, Scope},
};

use crate::{
    boundary::{Place, writable_array},
    status::{Failure, pmd_af_status},
};

/// The scheduler, as a set of roles.
pub const PMD_AF_SCHEDULER: u32 = 1;
/// All servers.
pub const PMD_AF_SERVERS: u32 = 2;
/// All workers.
pub const PMD_AF_WORKERS: u32 = 4;

/// Barriers: every instance of the roles enters.
pub const PMD_AF_SCOPE_EVERYONE: u32 = 0;
/// Barriers: one of each group enters, whichever comes first.
pub const PMD_AF_SCOPE_GROUPS: u32 = 1;
/// Barriers: the instances of this process's number enter.
pub const PMD_AF_SCOPE_INSTANCE: u32 = 2;

/// A member has come, or has come back with a new epoch.
pub const PMD_AF_EVENT_JOINED: u32 = 1;
/// A member is down.
pub const PMD_AF_EVENT_DOWN: u32 = 2;
/// A member has left in order.
pub const PMD_AF_EVENT_LEFT: u32 = 3;
/// The scheduler is gone; push-pulls go on.
pub const PMD_AF_EVENT_SCHEDULER_LOST: u32 = 4;
/// Events were dropped because nobody took them.
pub const PMD_AF_EVENT_MISSED: u32 = 5;

/// How many nodes a cluster has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct pmd_af_shape {
    /// Groups of workers.
    pub workers: u32,
    /// Groups of servers.
    pub servers: u32,
    /// Instances of a group.
    pub group_size: u32,
}

/// A member of a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct pmd_af_member {
    /// `PMD_AF_SERVERS` or `PMD_AF_WORKERS`.
    pub role: u32,
    /// Number among all instances of the role.
    pub rank: u32,
    /// Number in its group.
    pub instance: u32,
    /// How often the place has been taken so far; 0 where it never was.
    pub epoch: u64,
    /// Whether it lives.
    pub up: bool,
}

/// Something that has happened to the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct pmd_af_event {
    /// `PMD_AF_EVENT_JOINED` and the others.
    pub kind: u32,
    /// To whom; nobody for those without a member.
    pub member: pmd_af_member,
    /// Events that were dropped.
    pub missed: u64,
}

pub(super) fn barrier_of(name: &str, roles: u32, scope: u32, instance: u32) -> Result<Barrier, Failure> {
    let unknown = || Failure::argument(format!("there are no roles {roles}"));
    let roles = u8::try_from(roles).ok().and_then(Roles::from_bits).ok_or_else(unknown)?;
    let scope = match scope {
        PMD_AF_SCOPE_EVERYONE => Scope::Everyone,
        PMD_AF_SCOPE_GROUPS => Scope::Groups,
        PMD_AF_SCOPE_INSTANCE => Scope::Instance(instance),
        other => return Err(Failure::argument(format!("a barrier has no scope {other}"))),
    };
    Ok(Barrier::new(name, roles).with_scope(scope))
}

pub(super) const fn shape_of(shape: Shape) -> pmd_af_shape {
    pmd_af_shape { workers: shape.workers, servers: shape.servers, group_size: shape.group_size }
}

pub(super) fn member_of(member: &Member) -> pmd_af_member {
    pmd_af_member {
        role: member.id.role.as_roles().bits().into(),
        rank: member.id.rank,
        instance: member.instance,
        epoch: member.epoch,
        up: member.state == MemberState::Up,
    }
}

pub(super) fn event_of(event: &Event) -> pmd_af_event {
    let (kind, member, missed) = match event {
        Event::Joined(member) => (PMD_AF_EVENT_JOINED, Some(member), 0),
        Event::Down { member, .. } => (PMD_AF_EVENT_DOWN, Some(member), 0),
        Event::Left(member) => (PMD_AF_EVENT_LEFT, Some(member), 0),
        Event::SchedulerLost(_) => (PMD_AF_EVENT_SCHEDULER_LOST, None, 0),
        Event::Missed(missed) => (PMD_AF_EVENT_MISSED, None, *missed),
        _ => (0, None, 0),
    };
    pmd_af_event { kind, member: member.map(member_of).unwrap_or_default(), missed }
}

/// Writes members, all or none.
///
/// # Safety
/// `members` has room for `capacity` of them; `count` may be written.
pub(super) unsafe fn members_out(
    found: &[Member],
    members: *mut pmd_af_member,
    capacity: usize,
    count: *mut usize,
) -> Result<(), Failure> {
    // SAFETY: the caller's promise.
    unsafe { Place::new(count, "the place for the number of members")? }.put(found.len());
    if found.len() > capacity {
        let text = format!("{} members, there is room for {capacity}", found.len());
        return Err(Failure::new(pmd_af_status::BufferTooSmall, text));
    }
    writable_array(members, found.len(), "the room for members")?;
    for (index, member) in found.iter().enumerate() {
        // SAFETY: there is room for so many.
        unsafe { Place::optional(members.add(index)) }.put(member_of(member));
    }
    Ok(())
}
