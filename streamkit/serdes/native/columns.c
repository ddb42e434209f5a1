/* JSON to columns and back, without an object of Python for each field: the module `streamkit.serdes._columns`.
 *
 * What it reads is what is usual; of all else it says so, and the caller reads it as it would without this module. So it need not be
 * complete, only never wrong: whatever `project` and `integers` take, msgspec and `IntKey` take, with the same values.
 * tests/unit/serdes/test_compiled.py holds them together, on damaged input, too.
 */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000 /* one binary for CPython 3.11 and later */
#include <Python.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_DEPTH = 32, MOST_DIGITS = 19, LONGEST_INT = 20, LONGEST_NUMBER = 48 };
enum { SMALLEST_EXPONENT = 280, LARGEST_EXPONENT = 308 };

/* ---- buffers of numpy arrays ----------------------------------------------------------------------------------------------*/

static int contiguous(PyObject *array, Py_buffer *view, Py_ssize_t item_size, Py_ssize_t count, int flags) {
    if (PyObject_GetBuffer(array, view, PyBUF_ND | flags) < 0) return -1;
    if (view->ndim == 1 && view->itemsize == item_size && view->shape[0] >= count) return 0;
    PyBuffer_Release(view);
    PyErr_SetString(PyExc_ValueError, "an array of another type or length");
    return -1;
}

/* ---- a JSON text: each function moves `at` behind what it has read, and gives 0 for what is not usual ----------------------*/

typedef struct {
    const unsigned char *at, *end;
} Text;

static inline void skip_space(Text *text) {
    while (text->at < text->end && (*text->at == ' ' || *text->at == '\n' || *text->at == '\t' || *text->at == '\r')) text->at++;
}

static inline int take(Text *text, unsigned char wanted) {
    if (text->at == text->end || *text->at != wanted) return 0;
    text->at++;
    return 1;
}

static int take_word(Text *text, const char *word, size_t length) {
    if ((size_t)(text->end - text->at) < length || memcmp(text->at, word, length) != 0) return 0;
    text->at += length;
    return 1;
}

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))
#define HAS_ZERO(word) (((word) - EACH(1)) & ~(word) & EACH(0x80))

/* From inside a string to its next quote, backslash or control character: eight bytes at a time. Of the marks only the lowest is
 * sure to be right, which is that of the first byte where numbers begin with their lowest byte. */
static inline void skip_plain(Text *text) {
    const unsigned char *at = text->at;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    while (text->end - at >= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        uint64_t marks = HAS_ZERO(word ^ EACH('"')) | HAS_ZERO(word ^ EACH('\\')) | ((word - EACH(0x20)) & ~word & EACH(0x80));
        if (marks) {
            text->at = at + (__builtin_ctzll(marks) >> 3);
            return;
        }
        at += 8;
    }
#endif
    while (at < text->end && *at != '"' && *at != '\\' && *at >= 0x20) at++;
    text->at = at;
}

static inline int hexadecimal(unsigned char character) {
    return (character >= '0' && character <= '9') || ((character | 0x20) >= 'a' && (character | 0x20) <= 'f');
}

/* Behind a backslash. A number of a character may not be one half of two (D800 to DFFF). */
static int take_escape(Text *text) {
    if (text->at == text->end) return 0;
    if (*text->at != 'u') return memchr("\"\\/bfnrt", *text->at++, 8) != NULL;
    const unsigned char *digits = text->at + 1;
    if (text->end - digits < 4) return 0;
    for (int i = 0; i < 4; i++)
        if (!hexadecimal(digits[i])) return 0;
    text->at = digits + 4;
    return !((digits[0] | 0x20) == 'd' && memchr("89abcdefABCDEF", digits[1], 14) != NULL);
}

/* Behind the opening quote to behind the closing one. `escaped` is set if there was a backslash. */
static inline int take_string(Text *text, int *escaped) {
    for (;;) {
        skip_plain(text);
        if (text->at == text->end || *text->at < 0x20) return 0;
        if (*text->at++ == '"') return 1;
        *escaped = 1;
        if (!take_escape(text)) return 0;
    }
}

/* Eight digits at once; 0 if not all of them are. */
static inline int take_eight_digits(Text *text, uint64_t *value) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    uint64_t word;
    if (text->end - text->at < 8) return 0;
    memcpy(&word, text->at, 8);
    if (((word & EACH(0xF0)) | (((word + EACH(0x06)) & EACH(0xF0)) >> 4)) != EACH(0x33)) return 0;
    word = (word & EACH(0x0F)) * 2561 >> 8; /* pairs, then fours, then all of them */
    word = (word & UINT64_C(0x00FF00FF00FF00FF)) * 6553601 >> 16;
    word = (word & UINT64_C(0x0000FFFF0000FFFF)) * UINT64_C(42949672960001) >> 32;
    *value = *value * 100000000 + word;
    text->at += 8;
    return 1;
#else
    (void)text, (void)value;
    return 0;
#endif
}

/* An integer of 64 bits, in the one form that JSON has for it; not -0. */
static inline int take_integer(Text *text, int64_t *value) {
    int negative = take(text, '-');
    const unsigned char *first = text->at;
    uint64_t magnitude = 0;
    take_eight_digits(text, &magnitude);
    while (text->at < text->end && *text->at >= '0' && *text->at <= '9' && text->at - first <= MOST_DIGITS)
        magnitude = magnitude * 10 + (uint64_t)(*text->at++ - '0');
    Py_ssize_t digits = text->at - first;
    if (digits == 0 || digits > MOST_DIGITS || (*first == '0' && (digits > 1 || negative))) return 0;
    if (magnitude > (uint64_t)INT64_MAX + (uint64_t)negative) return 0;
    *value = (int64_t)(negative ? 0 - magnitude : magnitude);
    return 1;
}

static inline int take_digits(Text *text, int most) {
    const unsigned char *first = text->at;
    while (text->at < text->end && *text->at >= '0' && *text->at <= '9') text->at++;
    return text->at > first && text->at - first <= most;
}

/* Behind an `e`: one that gives no infinity with so many digits before the point, and is not near the smallest floats. */
static int take_exponent(Text *text, Py_ssize_t digits) {
    int negative = take(text, '-'), exponent = 0;
    if (!negative) take(text, '+');
    const unsigned char *first = text->at;
    if (!take_digits(text, 3)) return 0;
    while (first < text->at) exponent = exponent * 10 + (*first++ - '0');
    return negative ? exponent < SMALLEST_EXPONENT : digits + exponent < LARGEST_EXPONENT;
}

/* A number that a float can hold. `whole` is what it is if it has neither fraction nor exponent; else `real` is set. */
static inline int take_number(Text *text, int64_t *whole, int *real) {
    const unsigned char *first = text->at;
    if (!take_integer(text, whole)) return 0;
    Py_ssize_t digits = text->at - first;
    if (text->at == text->end) return 1;
    if (*text->at == '.') {
        *real = 1;
        text->at++;
        if (!take_digits(text, MOST_DIGITS)) return 0;
        if (text->at == text->end) return 1;
    }
    if ((*text->at | 0x20) != 'e') return 1;
    *real = 1;
    text->at++;
    return take_exponent(text, digits);
}

static int skip_value(Text *text, int depth);

static int skip_array(Text *text, int depth) {
    skip_space(text);
    if (take(text, ']')) return 1;
    for (;;) {
        skip_space(text);
        if (!skip_value(text, depth)) return 0;
        skip_space(text);
        if (take(text, ']')) return 1;
        if (!take(text, ',')) return 0;
    }
}

static int skip_object(Text *text, int depth) {
    int escaped = 0;
    skip_space(text);
    if (take(text, '}')) return 1;
    for (;;) {
        skip_space(text);
        if (!take(text, '"') || !take_string(text, &escaped)) return 0;
        skip_space(text);
        if (!take(text, ':')) return 0;
        skip_space(text);
        if (!skip_value(text, depth)) return 0;
        skip_space(text);
        if (take(text, '}')) return 1;
        if (!take(text, ',')) return 0;
    }
}

static int skip_value(Text *text, int depth) {
    int64_t value;
    int ignored = 0;
    if (text->at == text->end || depth > MOST_DEPTH) return 0;
    switch (*text->at) {
    case '"':
        text->at++;
        return take_string(text, &ignored);
    case '{':
        text->at++;
        return skip_object(text, depth + 1);
    case '[':
        text->at++;
        return skip_array(text, depth + 1);
    case 't':
        return take_word(text, "true", 4);
    case 'f':
        return take_word(text, "false", 5);
    case 'n':
        return take_word(text, "null", 4);
    default:
        return take_number(text, &value, &ignored);
    }
}

/* ---- many byte strings: a list of bytes, or (joined, lengths): one behind the other, and int32 lengths, -1 for null --------------*/

typedef struct {
    PyObject *list;
    Py_buffer joined, lengths;
    Py_ssize_t count, next, offset; /* `next` begins at `offset` of the joined ones */
} Strings;

static void release_strings(Strings *strings) {
    if (strings->joined.buf != NULL) PyBuffer_Release(&strings->joined);
    if (strings->lengths.buf != NULL) PyBuffer_Release(&strings->lengths);
}

static int read_strings(Strings *strings, PyObject *object) {
    memset(strings, 0, sizeof *strings);
    if (PyList_Check(object)) {
        strings->list = object;
        strings->count = PyList_Size(object);
        return 0;
    }
    if (!PyTuple_Check(object) || !PyArg_ParseTuple(object, "y*y*", &strings->joined, &strings->lengths)) {
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_TypeError, "neither a list of bytes nor joined bytes with their lengths");
        return -1;
    }
    const int32_t *lengths = strings->lengths.buf;
    int64_t together = 0;
    strings->count = strings->lengths.len / 4;
    for (Py_ssize_t i = 0; i < strings->count; i++) together += lengths[i] < 0 ? 0 : lengths[i];
    if (together <= strings->joined.len) return 0;
    release_strings(strings);
    PyErr_SetString(PyExc_ValueError, "the lengths are more than there is");
    return -1;
}

/* The next string; 0 for a null, -1 with an exception for what is no string. */
static inline int next_string(Strings *strings, Text *text) {
    Py_ssize_t row = strings->next++;
    if (strings->list == NULL) {
        int32_t length = ((const int32_t *)strings->lengths.buf)[row];
        if (length < 0) return 0;
        text->at = (const unsigned char *)strings->joined.buf + strings->offset;
        text->end = text->at + length;
        strings->offset += length;
        return 1;
    }
    PyObject *object = PyList_GetItem(strings->list, row);
    char *bytes;
    Py_ssize_t length;
    if (object == NULL) return -1;
    if (!PyBytes_Check(object)) return 0;
    if (PyBytes_AsStringAndSize(object, &bytes, &length) < 0) return -1;
    text->at = (const unsigned char *)bytes;
    text->end = text->at + length;
    return 1;
}

static int skip_strings(Strings *strings, Py_ssize_t count) {
    Text ignored;
    for (Py_ssize_t i = 0; i < count && i < strings->count; i++)
        if (next_string(strings, &ignored) < 0) return -1;
    return 0;
}

/* ---- columns of a projection -------------------------------------------------------------------------------------------------*/

typedef struct {
    const char *name; /* as it is on the wire */
    Py_ssize_t name_length;
    char kind;           /* q int64, d float64, ? bool, s text */
    int nullable;        /* null may be there */
    int absent;          /* it may be left out, and is null then */
    Py_buffer out, valid; /* of a number: its values, and whether they are there */
    PyObject *texts;     /* of text: a list */
    Py_ssize_t seen;     /* the last record it was in */
} Field;

static int take_null(Field *field, Py_ssize_t row) {
    if (!field->nullable) return 0;
    if (field->texts != NULL) return PyList_SetItem(field->texts, row, Py_NewRef(Py_None)) < 0 ? -1 : 1;
    ((char *)field->valid.buf)[row] = 0;
    memset((char *)field->out.buf + row * field->out.itemsize, 0, (size_t)field->out.itemsize);
    return 1;
}

static int take_text(Text *text, Field *field, Py_ssize_t row, PyObject *unescape) {
    const char *first = (const char *)text->at;
    int escaped = 0;
    if (!take(text, '"') || !take_string(text, &escaped)) return 0;
    const char *end = (const char *)text->at;
    PyObject *value = escaped ? PyObject_CallFunction(unescape, "y#", first, (Py_ssize_t)(end - first))
                              : PyUnicode_DecodeUTF8(first + 1, end - first - 2, NULL);
    if (value == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_ValueError)) return -1;
        PyErr_Clear();
        return 0;
    }
    return PyList_SetItem(field->texts, row, value) < 0 ? -1 : 1;
}

static int take_float(Text *text, double *value) {
    const unsigned char *first = text->at;
    int64_t whole;
    int real = 0;
    if (!take_number(text, &whole, &real)) return 0;
    if (!real && whole < (INT64_C(1) << 53) && whole > -(INT64_C(1) << 53)) {
        *value = (double)whole;
        return 1;
    }
    char number[LONGEST_NUMBER + 1];
    size_t length = (size_t)(text->at - first);
    if (length > LONGEST_NUMBER) return 0;
    memcpy(number, first, length);
    number[length] = 0;
    *value = PyOS_string_to_double(number, NULL, NULL);
    return *value == -1.0 && PyErr_Occurred() ? -1 : 1;
}

/* The value of a field that is wanted: 1, 0 for what is not usual, -1 with an exception. */
static inline int take_value(Text *text, Field *field, Py_ssize_t row, PyObject *unescape) {
    field->seen = row;
    if (text->at < text->end && *text->at == 'n') return take_word(text, "null", 4) ? take_null(field, row) : 0;
    if (field->kind == 's') return take_text(text, field, row, unescape);
    if (field->valid.buf != NULL) ((char *)field->valid.buf)[row] = 1;
    int64_t *value = (int64_t *)field->out.buf + row;
    int real = 0;
    switch (field->kind) {
    case 'q':
        return take_number(text, value, &real) && !real;
    case 'd':
        return take_float(text, (double *)field->out.buf + row);
    default:
        ((char *)field->out.buf)[row] = take_word(text, "true", 4);
        return ((char *)field->out.buf)[row] || take_word(text, "false", 5);
    }
}

static inline Field *field_named(Field *fields, Py_ssize_t count, const unsigned char *name, Py_ssize_t length) {
    for (Py_ssize_t i = 0; i < count; i++)
        if (fields[i].name_length == length && memcmp(fields[i].name, name, (size_t)length) == 0) return &fields[i];
    return NULL;
}

static int take_record(Text *text, Field *fields, Py_ssize_t count, Py_ssize_t row, PyObject *unescape) {
    skip_space(text);
    if (!take(text, '{')) return 0;
    skip_space(text);
    if (!take(text, '}')) {
        for (;;) {
            int escaped = 0, taken;
            skip_space(text);
            const unsigned char *name = text->at + 1;
            if (!take(text, '"') || !take_string(text, &escaped) || escaped) return 0;
            Field *field = field_named(fields, count, name, text->at - 1 - name);
            skip_space(text);
            if (!take(text, ':')) return 0;
            skip_space(text);
            taken = field == NULL ? skip_value(text, 0) : take_value(text, field, row, unescape);
            if (taken <= 0) return taken;
            skip_space(text);
            if (take(text, '}')) break;
            if (!take(text, ',')) return 0;
        }
    }
    skip_space(text);
    if (text->at != text->end) return 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (fields[i].seen == row) continue;
        int taken = fields[i].absent ? take_null(&fields[i], row) : 0;
        if (taken <= 0) return taken;
    }
    return 1;
}

static void release(Field *fields, Py_ssize_t count) {
    for (Py_ssize_t i = 0; i < count; i++) {
        if (fields[i].out.buf != NULL) PyBuffer_Release(&fields[i].out);
        if (fields[i].valid.buf != NULL) PyBuffer_Release(&fields[i].valid);
    }
    PyMem_Free(fields);
}

/* (name, kind, nullable, absent, out, valid): `out` is an array, or of text a list; `valid` an array of what is nullable, or None. */
static int read_field(Field *field, PyObject *described, Py_ssize_t rows) {
    PyObject *out, *valid;
    int kind;
    if (!PyArg_ParseTuple(described, "y#CppOO", &field->name, &field->name_length, &kind, &field->nullable, &field->absent, &out,
                          &valid))
        return -1;
    field->kind = (char)kind;
    field->seen = -1;
    if (kind == 's') {
        if (!PyList_Check(out) || PyList_Size(out) != rows) {
            PyErr_SetString(PyExc_ValueError, "no list of the right length");
            return -1;
        }
        field->texts = out;
        return 0;
    }
    if (contiguous(out, &field->out, kind == '?' ? 1 : 8, rows, PyBUF_WRITABLE) < 0) return -1;
    if (valid == Py_None) return field->nullable ? (PyErr_SetString(PyExc_ValueError, "nullable, but no mask"), -1) : 0;
    return contiguous(valid, &field->valid, 1, rows, PyBUF_WRITABLE);
}

/* Reads records until one is not usual, whose number it gives; -1 with an exception. */
static Py_ssize_t take_records(Strings *values, Field *fields, Py_ssize_t count, PyObject *unescape) {
    while (values->next < values->count) {
        Py_ssize_t row = values->next;
        Text text;
        int taken = next_string(values, &text);
        if (taken > 0) taken = take_record(&text, fields, count, row, unescape);
        if (taken <= 0) return taken < 0 ? -1 : row;
    }
    return values->count;
}

static PyObject *project(PyObject *module, PyObject *arguments) {
    (void)module;
    PyObject *strings, *described, *unescape;
    Strings values;
    Py_ssize_t start, read = 0, taken = -1;
    if (!PyArg_ParseTuple(arguments, "OO!nO", &strings, &PyTuple_Type, &described, &start, &unescape)) return NULL;
    if (read_strings(&values, strings) < 0) return NULL;
    Py_ssize_t count = PyTuple_Size(described);
    Field *fields = PyMem_Calloc((size_t)count + 1, sizeof(Field));
    if (fields == NULL) {
        release_strings(&values);
        return PyErr_NoMemory();
    }
    while (read < count && read_field(&fields[read], PyTuple_GetItem(described, read), values.count) == 0) read++;
    if (read == count && skip_strings(&values, start) == 0) taken = take_records(&values, fields, count, unescape);
    release(fields, count);
    release_strings(&values);
    return taken < 0 ? NULL : PyLong_FromSsize_t(taken);
}

/* ---- decimal text of integers ----------------------------------------------------------------------------------------------------*/

static PyObject *integers(PyObject *module, PyObject *arguments) {
    (void)module;
    PyObject *strings, *array;
    Strings texts;
    Py_buffer out;
    if (!PyArg_ParseTuple(arguments, "OO", &strings, &array)) return NULL;
    if (read_strings(&texts, strings) < 0) return NULL;
    int taken = contiguous(array, &out, 8, texts.count, PyBUF_WRITABLE) < 0 ? -1 : 1;
    int64_t *value = taken < 0 ? NULL : out.buf;
    while (taken > 0 && texts.next < texts.count) {
        Text text;
        taken = next_string(&texts, &text);
        if (taken > 0) taken = take_integer(&text, value++) && text.at == text.end;
    }
    if (value != NULL) PyBuffer_Release(&out);
    release_strings(&texts);
    return taken < 0 ? NULL : PyBool_FromLong(taken);
}

/* ---- joined strings as objects ---------------------------------------------------------------------------------------------------*/

static PyObject *pick(PyObject *module, PyObject *arguments) {
    (void)module;
    PyObject *joined, *array, *result = NULL;
    Strings strings;
    Py_buffer at;
    if (!PyArg_ParseTuple(arguments, "O!O", &PyTuple_Type, &joined, &array)) return NULL;
    if (read_strings(&strings, joined) < 0) return NULL;
    if (contiguous(array, &at, 8, 0, 0) < 0) goto done;
    Py_ssize_t count = at.shape[0];
    result = PyList_New(count);
    for (Py_ssize_t i = 0; result != NULL && i < count; i++) {
        int64_t wanted = ((const int64_t *)at.buf)[i];
        Text text;
        int found = 0;
        if (wanted < strings.next || wanted >= strings.count) {
            PyErr_SetString(PyExc_IndexError, "a position that does not rise, or is beyond the last");
            Py_CLEAR(result);
            break;
        }
        while (strings.next <= wanted) found = next_string(&strings, &text);
        PyObject *one = found ? PyBytes_FromStringAndSize((const char *)text.at, text.end - text.at) : Py_NewRef(Py_None);
        if (one == NULL || PyList_SetItem(result, i, one) < 0) Py_CLEAR(result);
    }
    PyBuffer_Release(&at);
done:
    release_strings(&strings);
    return result;
}

static const char PAIRS[] = "0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849"
                            "5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";

/* Writes so that the text ends at `end`; gives where it begins. */
static inline char *write_integer(char *end, int64_t value) {
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    while (rest >= 100) {
        memcpy(end -= 2, PAIRS + rest % 100 * 2, 2);
        rest /= 100;
    }
    if (rest >= 10)
        memcpy(end -= 2, PAIRS + rest * 2, 2);
    else
        *--end = (char)('0' + rest);
    if (value < 0) *--end = '-';
    return end;
}

/* ---- rows ------------------------------------------------------------------------------------------------------------------------*/

typedef struct {
    const char *before; /* what stands in front of each value */
    Py_ssize_t before_length;
    int kind;          /* q int64; of the others a list: b text that is ready, s objects that are mostly str */
    Py_buffer numbers;
    PyObject *objects;
    PyObject *encode;  /* makes JSON of an object that is not a plain str */
} Part;

/* Rows behind each other, in a bytearray that grows. */
typedef struct {
    PyObject *owner;
    char *bytes;
    Py_ssize_t length, room;
} Rows;

static int make_room(Rows *rows, Py_ssize_t room) {
    if (PyByteArray_Resize(rows->owner, room) < 0) return -1;
    rows->bytes = PyByteArray_AsString(rows->owner);
    rows->room = room;
    return 0;
}

static inline int append(Rows *rows, const char *bytes, Py_ssize_t length) {
    if (rows->length + length > rows->room && make_room(rows, 2 * (rows->length + length)) < 0) return -1;
    memcpy(rows->bytes + rows->length, bytes, (size_t)length);
    rows->length += length;
    return 0;
}

static int append_bytes(Rows *rows, PyObject *object) {
    char *bytes;
    Py_ssize_t length;
    return PyBytes_AsStringAndSize(object, &bytes, &length) < 0 ? -1 : append(rows, bytes, length);
}

/* A str in quotes, if nothing in it has to be escaped; None; for all else what `encode` makes of it. */
static int append_object(Rows *rows, PyObject *object, PyObject *encode) {
    if (object == Py_None) return append(rows, "null", 4);
    if (PyUnicode_CheckExact(object)) {
        Py_ssize_t length;
        const char *characters = PyUnicode_AsUTF8AndSize(object, &length);
        if (characters == NULL) return -1;
        Text text = {(const unsigned char *)characters, (const unsigned char *)characters + length};
        skip_plain(&text);
        if (text.at == text.end) {
            int failed = append(rows, "\"", 1) < 0 || append(rows, characters, length) < 0 || append(rows, "\"", 1) < 0;
            return failed ? -1 : 0;
        }
    }
    PyObject *encoded = PyObject_CallFunctionObjArgs(encode, object, NULL);
    if (encoded == NULL) return -1;
    int failed = append_bytes(rows, encoded);
    Py_DECREF(encoded);
    return failed;
}

static inline int append_value(Rows *rows, const Part *part, Py_ssize_t number) {
    if (append(rows, part->before, part->before_length) < 0) return -1;
    if (part->kind == 'q') {
        char digits[LONGEST_INT], *end = digits + LONGEST_INT, *first = write_integer(end, ((int64_t *)part->numbers.buf)[number]);
        return append(rows, first, end - first);
    }
    PyObject *object = PyList_GetItem(part->objects, number);
    if (object == NULL) return -1;
    return part->kind == 'b' ? append_bytes(rows, object) : append_object(rows, object, part->encode);
}

/* About as many bytes as all rows will take, so that they are seldom moved. */
static Py_ssize_t expected(const Part *parts, Py_ssize_t count, Py_ssize_t size, Py_ssize_t after_length) {
    Py_ssize_t of_row = after_length;
    for (Py_ssize_t i = 0; i < count; i++) of_row += parts[i].before_length + LONGEST_INT / 2;
    return size * of_row;
}

static int fill_rows(Rows *rows, int32_t *lengths, Py_ssize_t size, const Part *parts, Py_ssize_t count, const char *after,
                     Py_ssize_t after_length) {
    if (make_room(rows, expected(parts, count, size, after_length)) < 0) return -1;
    for (Py_ssize_t number = 0; number < size; number++) {
        Py_ssize_t start = rows->length;
        for (Py_ssize_t part = 0; part < count; part++)
            if (append_value(rows, &parts[part], number) < 0) return -1;
        if (append(rows, after, after_length) < 0) return -1;
        if (rows->length - start > INT32_MAX) {
            PyErr_SetString(PyExc_OverflowError, "a row of 2 GB or more");
            return -1;
        }
        lengths[number] = (int32_t)(rows->length - start);
    }
    return make_room(rows, rows->length);
}

/* (before, kind, column) */
static int read_part(Part *part, PyObject *described, Py_ssize_t rows, PyObject *encode) {
    PyObject *column;
    if (!PyArg_ParseTuple(described, "y#CO", &part->before, &part->before_length, &part->kind, &column)) return -1;
    if (part->kind == 'q') return contiguous(column, &part->numbers, 8, rows, 0);
    if (!PyList_Check(column) || PyList_Size(column) != rows) {
        PyErr_SetString(PyExc_ValueError, "no list of the right length");
        return -1;
    }
    part->objects = column;
    part->encode = encode;
    return 0;
}

static PyObject *splice(PyObject *module, PyObject *arguments) {
    (void)module;
    PyObject *described, *encode, *result = NULL;
    const char *after;
    Py_ssize_t size, read = 0, after_length;
    if (!PyArg_ParseTuple(arguments, "O!y#nO", &PyTuple_Type, &described, &after, &after_length, &size, &encode)) return NULL;
    Py_ssize_t count = PyTuple_Size(described);
    Part *parts = PyMem_Calloc((size_t)count + 1, sizeof(Part));
    if (parts == NULL) return PyErr_NoMemory();
    while (read < count && read_part(&parts[read], PyTuple_GetItem(described, read), size, encode) == 0) read++;
    Rows rows = {PyByteArray_FromStringAndSize(NULL, 0), NULL, 0, 0};
    PyObject *lengths = PyByteArray_FromStringAndSize(NULL, size * (Py_ssize_t)sizeof(int32_t));
    if (read == count && rows.owner != NULL && lengths != NULL &&
        fill_rows(&rows, (int32_t *)PyByteArray_AsString(lengths), size, parts, count, after, after_length) == 0)
        result = PyTuple_Pack(2, rows.owner, lengths);
    Py_XDECREF(rows.owner);
    Py_XDECREF(lengths);
    for (Py_ssize_t i = 0; i < count; i++)
        if (parts[i].numbers.buf != NULL) PyBuffer_Release(&parts[i].numbers);
    PyMem_Free(parts);
    return result;
}

/* ---- the module --------------------------------------------------------------------------------------------------------------------*/

static PyMethodDef functions[] = {
    {"project", project, METH_VARARGS,
     "project(values, fields, start, unescape): reads fields of JSON objects into arrays and lists, from a record on to one that is "
     "not usual; gives which."},
    {"integers", integers, METH_VARARGS, "integers(texts, out): reads canonical decimal text; False if one is something else."},
    {"pick", pick, METH_VARARGS, "pick(joined, at): bytes or None for each of these positions, which must rise."},
    {"splice", splice, METH_VARARGS,
     "splice(parts, after, count, encode): joined bytes of each row: before and value of each part (before, kind, column), then after."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_columns",
    .m_doc = "JSON to columns and back, without an object of Python for each field.",
    .m_methods = functions,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__columns(void) { return PyModuleDef_Init(&definition); }
