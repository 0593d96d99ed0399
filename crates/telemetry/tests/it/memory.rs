//! Memory budgets: the ceiling holds, for children and parents, from many threads.

use cupola_telemetry::memory::MemoryBudget;

#[test]
fn the_ceiling_holds_and_memory_comes_back() {
    let budget = MemoryBudget::new(100);
    let mut first = budget.try_reserve(60).unwrap();
    assert!(budget.try_reserve(41).is_none());
    assert_eq!((budget.used(), budget.available(), budget.refused()), (60, 40, 1));
    assert!(first.try_grow(40));
    assert!(!first.try_grow(1));
    first.shrink(30);
    assert_eq!(budget.used(), 70);
    assert!(first.try_resize(10));
    let half = first.split(5);
    assert_eq!((first.bytes(), half.bytes(), budget.used()), (5, 5, 10));
    drop(first);
    drop(half);
    assert_eq!((budget.used(), budget.peak()), (0, 100));
}

#[test]
fn a_child_is_bound_by_its_own_ceiling_and_its_parents() {
    let parent = MemoryBudget::new(100);
    let child = parent.child(50);
    let other = parent.child(80);
    let held = child.try_reserve(50).unwrap();
    assert!(child.try_reserve(1).is_none());
    assert!(other.try_reserve(51).is_none(), "the parent has 50 left");
    assert_eq!((other.used(), parent.used(), other.available()), (0, 50, 50));
    drop(held);
    assert_eq!((child.used(), parent.used()), (0, 0));
}

#[test]
fn what_is_held_already_is_counted_above_the_ceiling() {
    let budget = MemoryBudget::new(10);
    let mut held = budget.reservation();
    held.grow(15);
    assert_eq!((budget.used(), budget.available()), (15, 0));
    assert!(budget.try_reserve(0).is_none());
    held.shrink(usize::MAX);
    assert_eq!((held.bytes(), budget.used()), (0, 0));
}

#[test]
fn many_threads_never_pass_the_ceiling() {
    let budget = MemoryBudget::new(1000);
    let child = budget.child(900);
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let budget = if worker % 2 == 0 {
                budget.clone()
            } else {
                child.clone()
            };
            scope.spawn(move || {
                for bytes in (1..300).cycle().take(20_000) {
                    let reservation = budget.try_reserve(bytes);
                    assert!(budget.used() <= budget.ceiling());
                    drop(reservation);
                }
            });
        }
    });
    assert_eq!((budget.used(), child.used()), (0, 0));
    assert!(budget.peak() <= 1000);
}
