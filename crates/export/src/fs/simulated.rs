//! A file system in memory for tests: counts operations, fails the one it is told to, has a bounded size, and on a crash
//! forgets what was not synced.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;

use super::{FileSystem, Lock, WritableFile};

#[derive(Debug, Clone, Default)]
pub(crate) struct Simulated(Arc<Mutex<Machine>>);

#[derive(Debug, Default, Clone)]
struct Machine {
    files: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    locks: BTreeSet<PathBuf>,
    operations: u64,
    crash_at: Option<u64>,
    crashed: bool,
    failures: BTreeMap<u64, io::ErrorKind>,
    /// Each operation fails with this chance.
    chance: Option<(f64, ChaCha8Rng)>,
    capacity: Option<u64>,
}

#[derive(Debug, Default, Clone)]
struct Inode {
    data: Vec<u8>,
    durable: Vec<u8>,
    /// A sync failed: what was not durable then never will be, whatever later syncs say.
    poisoned: bool,
}

/// What a crash leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crash {
    /// Of the process: the machine goes on and keeps everything.
    Kept,
    /// Of the machine: nothing that was not synced.
    Forgotten,
    /// Of the machine: some of what was not synced.
    Torn(u64),
}

impl Simulated {
    /// The machine dies at the operation of this number.
    pub(crate) fn crash_at(&self, operation: u64) {
        self.0.lock().crash_at = Some(operation);
    }

    pub(crate) fn fail_at(&self, operation: u64, kind: io::ErrorKind) {
        self.0.lock().failures.insert(operation, kind);
    }

    pub(crate) fn fail_randomly(&self, chance: f64, seed: u64) {
        self.0.lock().chance = Some((chance, ChaCha8Rng::seed_from_u64(seed)));
    }

    pub(crate) fn set_capacity(&self, bytes: Option<u64>) {
        self.0.lock().capacity = bytes;
    }

    pub(crate) fn operations(&self) -> u64 {
        self.0.lock().operations
    }

    pub(crate) fn has_crashed(&self) -> bool {
        self.0.lock().crashed
    }

    /// Dies now.
    pub(crate) fn crash(&self) {
        self.0.lock().crashed = true;
    }

    pub(crate) fn used(&self) -> u64 {
        self.0.lock().used()
    }

    /// Changes a byte behind everybody's back.
    pub(crate) fn flip(&self, path: &Path, offset: usize) {
        let mut machine = self.0.lock();
        let index = machine.names[path];
        machine.files[index].data[offset] ^= 0x10;
        machine.files[index].durable[offset] ^= 0x10;
    }

    /// The file system after a crash and a start.
    pub(crate) fn after(&self, crash: Crash) -> Simulated {
        let mut machine = self.0.lock().clone();
        let mut random = ChaCha8Rng::seed_from_u64(match crash {
            Crash::Torn(seed) => seed,
            _ => 0,
        });
        if crash == Crash::Forgotten || (matches!(crash, Crash::Torn(_)) && random.random()) {
            machine.names = machine.durable_names.clone();
        }
        for file in &mut machine.files {
            match crash {
                Crash::Kept => {}
                Crash::Forgotten => file.data = file.durable.clone(),
                Crash::Torn(_) if file.data.starts_with(&file.durable) => {
                    let kept = random.random_range(file.durable.len()..=file.data.len());
                    file.data.truncate(kept);
                }
                Crash::Torn(_) => file.data = file.durable.clone(),
            }
            file.durable = file.data.clone();
            file.poisoned = false;
        }
        machine.durable_names = machine.names.clone();
        let named: BTreeSet<usize> = machine.names.values().copied().collect();
        for (index, file) in machine.files.iter_mut().enumerate() {
            if !named.contains(&index) {
                *file = Inode::default();
            }
        }
        Simulated(Arc::new(Mutex::new(Machine {
            files: machine.files,
            names: machine.names,
            durable_names: machine.durable_names,
            capacity: machine.capacity,
            ..Machine::default()
        })))
    }
}

impl Machine {
    fn step(&mut self) -> io::Result<()> {
        self.operations += 1;
        if self.crash_at == Some(self.operations) {
            self.crashed = true;
        }
        if self.crashed {
            return Err(io::Error::other("the machine has crashed"));
        }
        if let Some(kind) = self.failures.get(&self.operations) {
            return Err(io::Error::new(*kind, "told to fail"));
        }
        let fails = match &mut self.chance {
            Some((chance, random)) => random.random_bool(*chance),
            None => false,
        };
        match fails {
            true => Err(io::Error::other("failed by chance")),
            false => Ok(()),
        }
    }

    fn used(&self) -> u64 {
        self.names
            .values()
            .map(|index| self.files[*index].data.len() as u64)
            .sum()
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        self.names
            .get(path)
            .copied()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

#[derive(Debug)]
struct SimulatedFile {
    machine: Arc<Mutex<Machine>>,
    index: usize,
}

impl WritableFile for SimulatedFile {
    fn write_all(&mut self, data: &[u8]) -> io::Result<()> {
        let machine = &mut *self.machine.lock();
        let alive = !machine.crashed;
        let stepped = machine.step();
        let mut room = data.len();
        if stepped.is_err() {
            // A write that fails, or during which the machine dies, has written a part.
            room = if alive { data.len() / 2 } else { 0 };
        }
        let free = machine.capacity.map_or(usize::MAX, |capacity| {
            capacity.saturating_sub(machine.used()) as usize
        });
        machine.files[self.index]
            .data
            .extend_from_slice(&data[..room.min(free)]);
        stepped?;
        match free < data.len() {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        let machine = &mut *self.machine.lock();
        let alive = !machine.crashed;
        let stepped = machine.step();
        let file = &mut machine.files[self.index];
        if stepped.is_err() && alive {
            file.poisoned = true;
        }
        stepped?;
        if !file.poisoned {
            file.durable = file.data.clone();
        }
        Ok(())
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        let machine = &mut *self.machine.lock();
        machine.step()?;
        machine.files[self.index].data.truncate(bytes as usize);
        Ok(())
    }
}

#[derive(Debug)]
struct SimulatedLock(Arc<Mutex<Machine>>, PathBuf);

impl Lock for SimulatedLock {}

impl Drop for SimulatedLock {
    fn drop(&mut self) {
        self.0.lock().locks.remove(&self.1);
    }
}

impl FileSystem for Simulated {
    fn create(&self, path: &Path) -> io::Result<Box<dyn WritableFile>> {
        let machine = &mut *self.0.lock();
        machine.step()?;
        if machine.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        machine.files.push(Inode::default());
        let index = machine.files.len() - 1;
        machine.names.insert(path.to_owned(), index);
        Ok(Box::new(SimulatedFile {
            machine: self.0.clone(),
            index,
        }))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let machine = &mut *self.0.lock();
        machine.step()?;
        Ok(machine.files[machine.find(path)?].data.clone())
    }

    fn read_at(&self, path: &Path, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let data = self.read(path)?;
        let start = data.len().min(offset as usize);
        Ok(data[start..data.len().min(start + bytes)].to_vec())
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        self.read(path).map(|data| data.len() as u64)
    }

    fn truncate(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let machine = &mut *self.0.lock();
        machine.step()?;
        let index = machine.find(path)?;
        let file = &mut machine.files[index];
        file.data.truncate(bytes as usize);
        file.durable = file.data.clone();
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let machine = &mut *self.0.lock();
        machine.step()?;
        let index = machine.find(from)?;
        machine.names.remove(from);
        machine.names.insert(to.to_owned(), index);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let machine = &mut *self.0.lock();
        machine.step()?;
        machine.find(path)?;
        machine.names.remove(path);
        Ok(())
    }

    fn create_directories(&self, _: &Path) -> io::Result<()> {
        self.0.lock().step()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let machine = &mut *self.0.lock();
        machine.step()?;
        let inside = machine.names.keys().filter(|name| name.parent() == Some(path));
        Ok(inside
            .filter_map(|name| Some(name.file_name()?.to_string_lossy().into_owned()))
            .collect())
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let machine = &mut *self.0.lock();
        machine.step()?;
        let inside = |name: &PathBuf| name.parent() == Some(path);
        machine.durable_names.retain(|name, _| !inside(name));
        let names = machine.names.iter().filter(|(name, _)| inside(name));
        let names: Vec<_> = names.map(|(name, index)| (name.clone(), *index)).collect();
        machine.durable_names.extend(names);
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let machine = &mut *self.0.lock();
        machine.step()?;
        if !machine.locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(SimulatedLock(self.0.clone(), path.to_owned())))
    }
}
