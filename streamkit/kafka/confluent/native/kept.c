/* Kept: the messages of a run, for their headers.
 *
 * librdkafka reads headers when it is asked for them, which takes as long as the rest of a record even where it has none; so they are
 * only asked for when the engine wants them, of the records that it wants them of, and the messages live as long as the batch.
 */

#include "native.h"

PyObject *kept_new(PyObject *type, Client *client, rd_kafka_message_t **messages, Py_ssize_t count) {
    allocfunc allocate = PyType_GetSlot((PyTypeObject *)type, Py_tp_alloc);
    Kept *kept = (Kept *)allocate((PyTypeObject *)type, 0);
    if (kept == NULL) return NULL;
    pthread_mutex_lock(&client->lock);
    kept->client = client;
    kept->messages = messages;
    kept->count = count;
    kept->next = client->kept;
    kept->link = &client->kept;
    if (kept->next != NULL) kept->next->link = &kept->next;
    client->kept = kept;
    pthread_mutex_unlock(&client->lock);
    client_keep(client);
    return (PyObject *)kept;
}

static void kept_dealloc(PyObject *object) {
    Kept *self = (Kept *)object;
    PyTypeObject *type = Py_TYPE(object);
    rd_kafka_message_t **messages = kept_take(self);
    if (messages != NULL) messages_destroy(messages, self->count);
    if (self->client != NULL) client_release(self->client);
    freefunc release = PyType_GetSlot(type, Py_tp_free);
    release(object);
    Py_DECREF(type);
}

static PyObject *headers_of(const rd_kafka_message_t *message) {
    rd_kafka_headers_t *headers;
    if (librdkafka.message_headers(message, &headers) != ERR_NO_ERROR) Py_RETURN_NONE;
    PyObject *list = PyList_New(0);
    const char *name;
    const void *value;
    size_t size;
    for (size_t i = 0; list != NULL && librdkafka.header_get_all(headers, i, &name, &value, &size) == ERR_NO_ERROR; i++) {
        PyObject *text = PyUnicode_DecodeUTF8(name, (Py_ssize_t)strlen(name), "replace");
        PyObject *pair = text == NULL ? NULL : Py_BuildValue("(Ny#)", text, (const char *)value, (Py_ssize_t)size);
        if (pair == NULL || PyList_Append(list, pair) < 0) Py_CLEAR(list);
        Py_XDECREF(pair);
    }
    return list;
}

/* headers(positions): of all records if that is None. A list for each, None for one without; None if none of them has any. */
static PyObject *kept_headers(PyObject *object, PyObject *positions) {
    Kept *self = (Kept *)object;
    Py_buffer places = {0};
    if (positions != Py_None && PyObject_GetBuffer(positions, &places, PyBUF_SIMPLE) < 0) return NULL;
    Py_ssize_t count = positions == Py_None ? self->count : places.len / 8;
    int any = 0, collecting = PyGC_Disable(); /* a collection could destroy the consumer, and with it what is read here */
    PyObject *list = PyList_New(count);
    for (Py_ssize_t i = 0; list != NULL && i < count; i++) {
        int64_t at = positions == Py_None ? i : ((const int64_t *)places.buf)[i];
        PyObject *headers = NULL;
        pthread_mutex_lock(&self->client->lock); /* as another thread could */
        if (self->messages == NULL) PyErr_SetString(PyExc_ValueError, "the messages are gone: the consumer is closed");
        else if (at < 0 || at >= self->count) PyErr_Format(PyExc_IndexError, "there is no record %lld of %zd", (long long)at, self->count);
        else headers = headers_of(self->messages[at]);
        pthread_mutex_unlock(&self->client->lock);
        any |= headers != Py_None;
        if (headers == NULL || PyList_SetItem(list, i, headers) < 0) Py_CLEAR(list);
    }
    if (collecting) PyGC_Enable();
    if (places.obj != NULL) PyBuffer_Release(&places);
    if (list == NULL || any) return list;
    Py_DECREF(list);
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"headers", kept_headers, METH_O, "headers(positions): of these records, or of all for None; None if none of them has any."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_dealloc, kept_dealloc},
    {Py_tp_methods, methods},
    {Py_tp_doc, "The messages of a run, for their headers."},
    {0, NULL},
};

PyType_Spec kept_spec = {"_native.Kept", sizeof(Kept), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};
