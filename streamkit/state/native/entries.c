/* The table of (pane, key) of an aggregation: the loop of `IntEntries.slots` in C, 6 ns a key where numpy, which goes over all keys that
 * are left once for each step of the probing, takes 150. The module `streamkit.state._entries`. See ../int_entries.py.
 */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000 /* one binary for CPython 3.11 and later */
#include <Python.h>

#include <stdint.h>

#define KEY_MULTIPLIER UINT64_C(0x9E3779B97F4A7C15)
#define PANE_MULTIPLIER UINT64_C(0xD6E8FEB86659FD93)

enum { PANES, KEYS, FOUND, TABLE, SLOT_PANES, SLOT_KEYS, FREE, ARRAYS };

typedef struct {
    const int64_t *panes, *keys, *free;
    int64_t *found, *slot_panes, *slot_keys;
    void *table;
    int is_wide; /* the table has int64, else int32 */
    uint64_t mask;
    int shift;
    Py_ssize_t free_count, capacity;
} Entries;

enum { FULL = -1, BEYOND = -2, LARGEST_BITS = 48 };

static inline int64_t slot_at(const Entries *entries, uint64_t place) {
    return entries->is_wide ? ((const int64_t *)entries->table)[place] : ((const int32_t *)entries->table)[place];
}

static inline uint64_t place_of(const Entries *entries, uint64_t pane, uint64_t key) {
    uint64_t mixed = pane * PANE_MULTIPLIER;
    mixed ^= mixed >> 32;
    return ((mixed + key) * KEY_MULTIPLIER) >> entries->shift;
}

/* The slot of the pair; where there is none, the next one that is free; FULL if there is none left, BEYOND if the table names a slot
 * that is not there. */
static inline int64_t slot_of(Entries *entries, int64_t pane, int64_t key, Py_ssize_t *taken) {
    for (uint64_t place = place_of(entries, (uint64_t)pane, (uint64_t)key);; place = (place + 1) & entries->mask) {
        int64_t slot = slot_at(entries, place);
        if (slot >= 0) {
            if (slot >= entries->capacity) return BEYOND;
            if (entries->slot_keys[slot] == key && entries->slot_panes[slot] == pane) return slot;
            continue;
        }
        if (*taken == entries->free_count) return FULL;
        slot = entries->free[(*taken)++];
        if (entries->is_wide)
            ((int64_t *)entries->table)[place] = slot;
        else
            ((int32_t *)entries->table)[place] = (int32_t)slot;
        entries->slot_keys[slot] = key;
        entries->slot_panes[slot] = pane;
        return slot;
    }
}

/* Whether all free slots are within the arrays of slots. */
static int are_within(const Entries *entries) {
    for (Py_ssize_t i = 0; i < entries->free_count; i++)
        if (entries->free[i] < 0 || entries->free[i] >= entries->capacity) return 0;
    return 1;
}

/* enter(panes, keys, found, table, slot_panes, slot_keys, free, shift, start): from `start` on, until no slot is free that is needed.
 * -> (where it came to, how many free slots were taken). `free` may not have more than the table has room for: half of its places. */
static PyObject *enter(PyObject *module, PyObject *arguments) {
    (void)module;
    Py_buffer views[ARRAYS] = {{0}};
    int shift;
    Py_ssize_t row, taken = 0;
    if (!PyArg_ParseTuple(arguments, "y*y*w*w*w*w*y*in", &views[PANES], &views[KEYS], &views[FOUND], &views[TABLE], &views[SLOT_PANES],
                          &views[SLOT_KEYS], &views[FREE], &shift, &row))
        return NULL;
    int is_shift = shift >= 64 - LARGEST_BITS && shift <= 63;
    Py_ssize_t count = views[KEYS].len / 8, capacity = views[SLOT_KEYS].len / 8;
    uint64_t narrow = UINT64_C(1) << (is_shift ? 64 - shift : 0);
    Entries entries = {views[PANES].buf, views[KEYS].buf, views[FREE].buf, views[FOUND].buf, views[SLOT_PANES].buf, views[SLOT_KEYS].buf,
                       views[TABLE].buf, views[TABLE].len == (Py_ssize_t)narrow * 8, narrow - 1, shift, views[FREE].len / 8, capacity};
    PyObject *result = NULL;
    if (!is_shift || row < 0 || views[PANES].len != count * 8 || views[FOUND].len != count * 8 ||
        views[SLOT_PANES].len != capacity * 8 || (!entries.is_wide && views[TABLE].len != (Py_ssize_t)narrow * 4) ||
        entries.free_count > (Py_ssize_t)(narrow / 2) || !are_within(&entries)) {
        PyErr_SetString(PyExc_ValueError, "arrays that do not fit each other");
    } else {
        int64_t slot = 0;
        for (; row < count; row++) {
            slot = slot_of(&entries, entries.panes[row], entries.keys[row], &taken);
            if (slot < 0) break;
            entries.found[row] = slot;
        }
        if (slot == BEYOND) PyErr_SetString(PyExc_ValueError, "arrays that do not fit each other: the table names slots that are not there");
        else result = Py_BuildValue("(nn)", row, taken);
    }
    for (int i = 0; i < ARRAYS; i++) PyBuffer_Release(&views[i]);
    return result;
}

static PyMethodDef functions[] = {
    {"enter", enter, METH_VARARGS,
     "enter(panes, keys, found, table, slot_panes, slot_keys, free, shift, start): (where it came to, how many free slots it took)."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_entries",
    .m_doc = "The table of (pane, key) of an aggregation.",
    .m_methods = functions,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__entries(void) { return PyModuleDef_Init(&definition); }
