//! Numbered places that are reused. A key names one occupancy of a place: once the value is
//! removed, the key finds nothing, even if the place is taken again.

/// One occupancy of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub place: u32,
    pub generation: u32,
}

impl Key {
    /// A key that never finds anything.
    pub const NOWHERE: Key = Key { place: u32::MAX, generation: 0 };
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    value: Option<T>,
}

/// A set of values under keys of its own making. Its size is the largest number of values that it
/// held at one time.
#[derive(Debug)]
pub(super) struct Slab<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Slab { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// The key that the next [`Slab::insert`] will return.
    #[inline]
    pub fn next_key(&self) -> Key {
        match self.free.last() {
            Some(&place) => Key { place, generation: self.places[place as usize].generation },
            None => Key { place: self.places.len() as u32, generation: 0 },
        }
    }

    #[inline]
    pub fn insert(&mut self, value: T) -> Key {
        let key = self.next_key();
        if self.free.pop().is_some() {
            self.places[key.place as usize].value = Some(value);
        } else {
            self.places.push(Place { generation: 0, value: Some(value) });
        }
        key
    }

    #[inline]
    pub fn get(&self, key: Key) -> Option<&T> {
        let place = self.places.get(key.place as usize)?;
        if place.generation == key.generation { place.value.as_ref() } else { None }
    }

    #[inline]
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let place = self.places.get_mut(key.place as usize)?;
        if place.generation == key.generation { place.value.as_mut() } else { None }
    }

    #[inline]
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.places.get_mut(key.place as usize)?;
        if place.generation != key.generation {
            return None;
        }
        let value = place.value.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(key.place);
        Some(value)
    }

    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.places.iter().enumerate().filter_map(|(at, place)| {
            let key = Key { place: at as u32, generation: place.generation };
            place.value.as_ref().map(|value| (key, value))
        })
    }

    /// The keys of the values for which `wanted` holds, in the order of their places.
    pub fn keys(&self, mut wanted: impl FnMut(&T) -> bool) -> Vec<Key> {
        self.iter().filter(|(_, value)| wanted(value)).map(|(key, _)| key).collect()
    }

    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_a_removed_value_finds_nothing_though_its_place_is_reused() {
        let mut slab = Slab::default();
        let old = slab.insert("old");
        assert_eq!(slab.remove(old), Some("old"));
        let new = slab.insert("new");
        assert_eq!(new.place, old.place);
        assert_eq!((slab.get(old), slab.get(new)), (None, Some(&"new")));
        assert_eq!(slab.remove(old), None);
    }

    #[test]
    fn places_are_reused_so_that_size_is_bounded_by_what_is_held() {
        let mut slab = Slab::default();
        for round in 0..10_000 {
            let key = slab.insert(round);
            slab.remove(key);
        }
        assert_eq!((slab.places.len(), slab.len()), (1, 0));
    }
}
