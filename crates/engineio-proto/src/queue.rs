//! A queue for what is nearly always empty or has one element.

use std::collections::VecDeque;

/// A queue that needs no memory for a single element: there are several for each connection, and most
/// connections are idle. One that has been longer keeps a few places.
///
/// ```
/// let mut queue = engineio_proto::Queue::default();
/// queue.push_back("first");
/// queue.push_back("second");
/// assert_eq!(queue.pop_front(), Some("first"));
/// assert_eq!(queue.front(), Some(&"second"));
/// ```
#[derive(Clone, Debug)]
pub struct Queue<T> {
    front: Option<T>,
    /// Empty if there is no front.
    #[expect(
        clippy::box_collection,
        reason = "an empty one takes a word, not four, in every connection"
    )]
    rest: Option<Box<VecDeque<T>>>,
}

impl<T> Queue<T> {
    /// Adds an element at the end.
    pub fn push_back(&mut self, element: T) {
        if self.front.is_none() {
            self.front = Some(element);
        } else {
            self.rest.get_or_insert_default().push_back(element);
        }
    }

    /// Takes the element at the front.
    #[inline]
    pub fn pop_front(&mut self) -> Option<T> {
        self.front.as_ref()?;
        let next = match &mut self.rest {
            None => None,
            Some(rest) => {
                let next = rest.pop_front();
                if rest.is_empty() && rest.capacity() > KEPT {
                    self.rest = None;
                }
                next
            }
        };
        std::mem::replace(&mut self.front, next)
    }

    /// The element at the front.
    pub fn front(&self) -> Option<&T> {
        self.front.as_ref()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.front.is_none()
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// The elements, from front to end.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.front
            .iter()
            .chain(self.rest.iter().flat_map(|it| it.iter()))
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            front: None,
            rest: None,
        }
    }
}

impl<T> Extend<T> for Queue<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, elements: I) {
        elements.into_iter().for_each(|it| self.push_back(it));
    }
}

impl<T> FromIterator<T> for Queue<T> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        let mut queue = Self::default();
        queue.extend(elements);
        queue
    }
}

impl<T> From<T> for Queue<T> {
    fn from(element: T) -> Self {
        Self {
            front: Some(element),
            rest: None,
        }
    }
}

/// Places that an emptied queue may keep: a client that is sent bursts needs them again.
const KEPT: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_leave_in_the_order_in_which_they_came() {
        let (mut queue, mut model) = (Queue::default(), VecDeque::new());
        for round in 0..200_u32 {
            for number in 0..round % 7 {
                queue.push_back((round, number));
                model.push_back((round, number));
            }
            assert!(queue.iter().eq(&model));
            for _ in 0..(round * 5) % 8 {
                assert_eq!(queue.pop_front(), model.pop_front());
            }
            assert_eq!(queue.len(), model.len());
            assert_eq!(queue.front(), model.front());
            assert_eq!(queue.is_empty(), model.is_empty());
        }
    }

    #[test]
    fn a_single_element_takes_no_memory_and_a_long_queue_gives_it_back() {
        let mut queue = Queue::from(0);
        assert!(queue.rest.is_none());
        (0..1000).for_each(|number| queue.push_back(number));
        while queue.pop_front().is_some() {}
        assert!(queue.rest.is_none());
    }
}
