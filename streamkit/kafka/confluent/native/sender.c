/* Sender: records into the queues of a producer, by columns. */

#include "native.h"

typedef struct {
    PyObject_HEAD
    Client *client;
} Sender;

static int sender_init(PyObject *object, PyObject *arguments, PyObject *named) {
    Sender *self = (Sender *)object;
    long long number;
    if (named != NULL && PyDict_Size(named) > 0) {
        PyErr_SetString(PyExc_TypeError, "Sender takes one positional argument");
        return -1;
    }
    if (!PyArg_ParseTuple(arguments, "L", &number)) return -1;
    if (self->client != NULL) {
        PyErr_SetString(PyExc_ValueError, "the sender has a client already");
        return -1;
    }
    self->client = client_find(number);
    return self->client == NULL ? -1 : 0;
}

static void let_go(Sender *self) {
    Client *client = self->client;
    self->client = NULL;
    if (client != NULL) {
        client_let_go(client);
        client_release(client);
    }
}

static PyObject *sender_close(PyObject *object, PyObject *unused) {
    (void)unused;
    let_go((Sender *)object);
    Py_RETURN_NONE;
}

static void sender_dealloc(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    let_go((Sender *)object);
    freefunc release = PyType_GetSlot(type, Py_tp_free);
    release(object);
    Py_DECREF(type);
}

/* The handle of a topic, kept: to look it up by its name costs more than the rest of the call. NULL with an exception, or with
 * librdkafka's error where it refuses the name. */
static rd_kafka_topic_t *topic_of(Client *client, const char *name, rd_kafka_err_t *err) {
    *err = ERR_NO_ERROR;
    for (size_t i = 0; i < client->topic_count; i++)
        if (strcmp(librdkafka.topic_name(client->topics[i]), name) == 0) return client->topics[i];
    rd_kafka_topic_t **topics = realloc(client->topics, (client->topic_count + 1) * sizeof *topics);
    if (topics == NULL) return (rd_kafka_topic_t *)PyErr_NoMemory();
    client->topics = topics;
    rd_kafka_topic_t *topic = librdkafka.topic_new(client->rk, name, NULL);
    if (topic == NULL) {
        *err = librdkafka.last_error();
        return NULL;
    }
    topics[client->topic_count++] = topic;
    return topic;
}

/* Bytes of a record, or nothing for None. -1 with an exception for anything else. */
static int bytes_of(PyObject *object, char **at, Py_ssize_t *size) {
    *at = NULL;
    *size = 0;
    if (object == NULL) return -1;
    if (object == Py_None) return 0;
    if (PyBytes_AsStringAndSize(object, at, size) < 0) return -1;
    return 0;
}

/* The values or the keys of records: a list of bytes or None, or (joined, lengths), byte strings behind each other and the length of
 * each as int32, -1 for none. */
typedef struct {
    PyObject *list; /* or NULL, and the other fields count */
    Py_buffer joined, lengths;
    char *next;
    Py_ssize_t count;
} Strings;

static void strings_close(Strings *strings) {
    if (strings->joined.obj != NULL) PyBuffer_Release(&strings->joined);
    if (strings->lengths.obj != NULL) PyBuffer_Release(&strings->lengths);
}

/* From the record `start` on. -1 with an exception; to be closed in any case. */
static int strings_open(Strings *strings, PyObject *object, Py_ssize_t start) {
    memset(strings, 0, sizeof *strings);
    if (PyList_Check(object)) {
        strings->list = object;
        strings->count = PyList_Size(object);
        return 0;
    }
    PyObject *joined, *lengths;
    if (!PyTuple_Check(object)) {
        PyErr_SetString(PyExc_TypeError, "neither a list nor joined bytes");
        return -1;
    }
    if (!PyArg_ParseTuple(object, "OO", &joined, &lengths) || PyObject_GetBuffer(joined, &strings->joined, PyBUF_SIMPLE) < 0 ||
        PyObject_GetBuffer(lengths, &strings->lengths, PyBUF_SIMPLE) < 0)
        return -1;
    strings->count = strings->lengths.len / (Py_ssize_t)sizeof(int32_t);
    strings->next = strings->joined.buf;
    Py_ssize_t total = 0, before = 0;
    for (Py_ssize_t i = 0; i < strings->count; i++) {
        int32_t length = ((const int32_t *)strings->lengths.buf)[i];
        if (i == start) before = total;
        if (length > 0) total += length;
    }
    if (total != strings->joined.len) {
        PyErr_SetString(PyExc_ValueError, "the lengths do not add up");
        return -1;
    }
    strings->next += before;
    return 0;
}

/* Of record i, after that of i - 1. */
static int strings_next(Strings *strings, Py_ssize_t i, char **at, Py_ssize_t *size) {
    if (strings->list != NULL) return bytes_of(PyList_GetItem(strings->list, i), at, size);
    int32_t length = ((const int32_t *)strings->lengths.buf)[i];
    *at = length < 0 ? NULL : strings->next;
    *size = length < 0 ? 0 : length;
    strings->next += *size;
    return 0;
}

/* A list of (name, bytes or None) as librdkafka wants it. -1 with an exception. */
static int headers_of(PyObject *list, rd_kafka_headers_t **made) {
    *made = NULL;
    if (list == Py_None) return 0;
    Py_ssize_t count = PySequence_Size(list);
    if (count <= 0) return (int)count;
    rd_kafka_headers_t *headers = librdkafka.headers_new((size_t)count);
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *pair = PySequence_GetItem(list, i);
        PyObject *name = NULL, *value = NULL;
        char *at = NULL;
        const char *text = NULL;
        Py_ssize_t size = 0, text_size = 0;
        int good = pair != NULL && PyArg_ParseTuple(pair, "OO", &name, &value) && bytes_of(value, &at, &size) == 0 &&
                   (text = PyUnicode_AsUTF8AndSize(name, &text_size)) != NULL;
        if (good) librdkafka.header_add(headers, text, text_size, at, size);
        Py_XDECREF(pair);
        if (!good) {
            librdkafka.headers_destroy(headers);
            return -1;
        }
    }
    *made = headers;
    return 0;
}

static int is_open(const Sender *sender) {
    if (sender->client != NULL && sender->client->rk != NULL) return 1;
    PyErr_SetString(PyExc_ValueError, "the sender is closed");
    return 0;
}

/* produce(topic, partition, values, keys, timestamps, headers, start, stop): columns of one length (`Strings`), of which the records from
 * start to stop are sent; timestamps an int or int64s; headers may be None. -> (how far it came, error code): a queue that is full, or a
 * record that is refused, stops it in front of that record. */
static PyObject *sender_produce(PyObject *object, PyObject *arguments) {
    Sender *self = (Sender *)object;
    const char *name;
    int partition;
    PyObject *given_values, *given_keys, *stamps, *all_headers;
    Py_ssize_t start, stop;
    if (!PyArg_ParseTuple(arguments, "siOOOOnn", &name, &partition, &given_values, &given_keys, &stamps, &all_headers, &start, &stop))
        return NULL;
    if (!is_open(self)) return NULL;
    rd_kafka_err_t err;
    rd_kafka_topic_t *topic = topic_of(self->client, name, &err);
    if (topic == NULL) return err == ERR_NO_ERROR ? NULL : Py_BuildValue("(ni)", start, (int)err);
    Strings values, keys = {0};
    Py_buffer times = {0};
    int64_t one = 0;
    PyObject *result = NULL;
    if (strings_open(&values, given_values, start) < 0 || strings_open(&keys, given_keys, start) < 0) goto done;
    if (PyLong_Check(stamps)) {
        one = PyLong_AsLongLong(stamps);
        if (one == -1 && PyErr_Occurred()) goto done;
    } else if (PyObject_GetBuffer(stamps, &times, PyBUF_SIMPLE) < 0) goto done;
    Py_ssize_t count = values.count;
    if (keys.count != count || (times.obj != NULL && times.len != count * 8) || start < 0 || stop > count ||
        (all_headers != Py_None && PyList_Size(all_headers) != count)) {
        if (!PyErr_Occurred()) PyErr_Format(PyExc_ValueError, "%s: columns are not of one length", name);
        goto done;
    }
    Py_ssize_t i = start;
    for (; i < stop; i++) {
        char *value, *key;
        Py_ssize_t value_size, key_size;
        rd_kafka_headers_t *headers = NULL;
        if (strings_next(&values, i, &value, &value_size) < 0 || strings_next(&keys, i, &key, &key_size) < 0) goto done;
        if (all_headers != Py_None) {
            if (headers_of(PyList_GetItem(all_headers, i), &headers) < 0) goto done;
            if (!is_open(self)) { /* a sequence that is no list runs code of its own, which may have closed it */
                if (headers != NULL) librdkafka.headers_destroy(headers);
                goto done;
            }
        }
        int64_t timestamp = times.obj == NULL ? one : ((const int64_t *)times.buf)[i];
        producing = 1;
        if (headers == NULL)
            err = librdkafka.producev(self->client->rk, V_RKT, topic, V_PARTITION, (int32_t)partition, V_MSGFLAGS, F_COPY, V_VALUE, value,
                                      (size_t)value_size, V_KEY, key, (size_t)key_size, V_TIMESTAMP, timestamp, V_END);
        else
            err = librdkafka.producev(self->client->rk, V_RKT, topic, V_PARTITION, (int32_t)partition, V_MSGFLAGS, F_COPY, V_VALUE, value,
                                      (size_t)value_size, V_KEY, key, (size_t)key_size, V_TIMESTAMP, timestamp, V_HEADERS, headers, V_END);
        producing = 0;
        if (err != ERR_NO_ERROR) {
            if (headers != NULL) librdkafka.headers_destroy(headers); /* they are ours until it succeeds */
            break;
        }
    }
    result = Py_BuildValue("(ni)", i, (int)err);
done:
    strings_close(&values);
    strings_close(&keys);
    if (times.obj != NULL) PyBuffer_Release(&times);
    return result;
}

/* failures(): what could not be delivered since it was last asked, one tuple for each error. */
static PyObject *sender_failures(PyObject *object, PyObject *unused) {
    (void)unused;
    Sender *self = (Sender *)object;
    PyObject *list = PyList_New(0);
    Failure *failure;
    while (list != NULL && self->client != NULL && (failure = client_failure(self->client)) != NULL) {
        PyObject *told = Py_BuildValue("(isiy#LL)", (int)failure->err, failure->topic == NULL ? "" : failure->topic, (int)failure->partition,
                                       failure->key, (Py_ssize_t)failure->key_len, (long long)failure->count, (long long)failure->null_keys);
        if (told == NULL || PyList_Append(list, told) < 0) Py_CLEAR(list);
        Py_XDECREF(told);
        failure_free(failure);
    }
    return list;
}

static PyMethodDef methods[] = {
    {"produce", sender_produce, METH_VARARGS,
     "produce(topic, partition, values, keys, timestamps, headers, start, stop): (how far it came, error code)."},
    {"failures", sender_failures, METH_NOARGS, "What was not delivered: (error, topic, partition, first key, count, without a key)."},
    {"close", sender_close, METH_NOARGS, "Lets go of the client; it cannot be destroyed before."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_init, sender_init},
    {Py_tp_dealloc, sender_dealloc},
    {Py_tp_methods, methods},
    {Py_tp_doc, "Sender(number): writes with the producer with that number."},
    {0, NULL},
};

PyType_Spec sender_spec = {"_native.Sender", sizeof(Sender), 0, Py_TPFLAGS_DEFAULT, slots};
