/* Reader: the records of the partitions of a consumer, by columns.
 *
 * A partition that was taken delivers to a queue of ours; everything else (rebalances, log lines, errors of the group) stays in the
 * queue that confluent-kafka polls, because its callbacks can only run there.
 */

#include "native.h"

typedef struct {
    PyObject_HEAD
    Client *client;
    PyObject *kept_type;
    rd_kafka_message_t **messages;
    Py_ssize_t room;
} Reader;

/* Byte strings behind each other, and the length of each; -1 is null. */
typedef struct {
    size_t bytes;
    PyObject *content, *lengths;
    char *at;
    int32_t *length_at;
} Joined;

/* Records of one partition while they are put together. */
typedef struct {
    rd_kafka_topic_t *topic;
    int32_t partition;
    Py_ssize_t count;
    Py_ssize_t filled;
    int keyed; /* some record has a key */
    Joined values, keys;
    PyObject *offsets, *timestamps;
    rd_kafka_message_t **messages;
    int64_t *offset_at, *timestamp_at;
    int32_t leader_epoch;
} Run;

static rd_kafka_queue_t *queue_of(Reader *self) {
    rd_kafka_queue_t *queue = self->client == NULL ? NULL : self->client->queue;
    if (queue == NULL) PyErr_SetString(PyExc_ValueError, "the reader is closed");
    return queue;
}

static int reader_init(PyObject *object, PyObject *arguments, PyObject *named) {
    Reader *self = (Reader *)object;
    long long number;
    PyObject *kept_type;
    if (named != NULL && PyDict_Size(named) > 0) {
        PyErr_SetString(PyExc_TypeError, "Reader takes positional arguments only");
        return -1;
    }
    if (!PyArg_ParseTuple(arguments, "LO!", &number, &PyType_Type, &kept_type)) return -1;
    if (self->client != NULL) {
        PyErr_SetString(PyExc_ValueError, "the reader has a client already");
        return -1;
    }
    Client *client = client_find(number);
    if (client == NULL) return -1;
    if (client->queue == NULL) client->queue = librdkafka.queue_new(client->rk);
    self->client = client;
    Py_INCREF(kept_type);
    self->kept_type = kept_type;
    return 0;
}

static PyObject *reader_close(PyObject *object, PyObject *unused) {
    (void)unused;
    Reader *self = (Reader *)object;
    Client *client = self->client;
    self->client = NULL;
    if (client != NULL) {
        client_let_go(client);
        client_release(client);
    }
    Py_RETURN_NONE;
}

static void reader_dealloc(PyObject *object) {
    Reader *self = (Reader *)object;
    PyTypeObject *type = Py_TYPE(object);
    Client *client = self->client;
    if (client != NULL) {
        client_let_go(client);
        client_release(client);
    }
    free(self->messages);
    Py_XDECREF(self->kept_type);
    freefunc release = PyType_GetSlot(type, Py_tp_free);
    release(object);
    Py_DECREF(type);
}

/* take(topic, partition): until librdkafka stops the partition's fetcher, which clears the forwarding. */
static PyObject *reader_take(PyObject *object, PyObject *arguments) {
    Reader *self = (Reader *)object;
    const char *topic;
    int partition;
    if (!PyArg_ParseTuple(arguments, "si", &topic, &partition)) return NULL;
    rd_kafka_queue_t *queue = queue_of(self);
    if (queue == NULL) return NULL;
    rd_kafka_queue_t *from = librdkafka.queue_get_partition(self->client->rk, topic, partition);
    if (from == NULL) return PyErr_Format(PyExc_LookupError, "librdkafka has no queue of %s-%d", topic, partition);
    librdkafka.queue_forward(from, queue);
    librdkafka.queue_destroy(from);
    Py_RETURN_NONE;
}

/* ---- putting runs together ---------------------------------------------------------------------------------------------*/

static PyObject *array_of(Py_ssize_t bytes) { return PyByteArray_FromStringAndSize(NULL, bytes); }

static void *start_of(PyObject *array) { return array == NULL ? NULL : PyByteArray_AsString(array); }

static int joined_begin(Joined *joined, Py_ssize_t count) {
    joined->content = array_of((Py_ssize_t)joined->bytes);
    joined->lengths = array_of(count * 4);
    joined->at = start_of(joined->content);
    joined->length_at = start_of(joined->lengths);
    return joined->content == NULL || joined->lengths == NULL ? -1 : 0;
}

static void joined_add(Joined *joined, Py_ssize_t at, const void *bytes, size_t size) {
    joined->length_at[at] = bytes == NULL ? -1 : (int32_t)size;
    if (bytes == NULL) return;
    memcpy(joined->at, bytes, size);
    joined->at += size;
}

static void joined_drop(Joined *joined) {
    Py_XDECREF(joined->content);
    Py_XDECREF(joined->lengths);
}

static int run_begin(Run *run) {
    run->offsets = array_of(run->count * 8);
    run->timestamps = array_of(run->count * 8);
    run->offset_at = start_of(run->offsets);
    run->timestamp_at = start_of(run->timestamps);
    if (joined_begin(&run->values, run->count) < 0 || (run->keyed && joined_begin(&run->keys, run->count) < 0)) return -1;
    run->messages = malloc((size_t)run->count * sizeof *run->messages);
    if (run->messages == NULL) PyErr_NoMemory();
    return run->offsets == NULL || run->timestamps == NULL || run->messages == NULL ? -1 : 0;
}

/* The message is the run's from now on. */
static void run_add(Run *run, rd_kafka_message_t *message) {
    Py_ssize_t at = run->filled++;
    run->messages[at] = message;
    run->offset_at[at] = message->offset;
    run->timestamp_at[at] = librdkafka.message_timestamp(message, NULL);
    joined_add(&run->values, at, message->payload, message->len);
    if (run->keyed) joined_add(&run->keys, at, message->key, message->key_len);
    if (run->filled == run->count) run->leader_epoch = librdkafka.message_leader_epoch(message);
}

static PyObject *run_end(Run *run, PyObject *kept_type, Client *client) {
    PyObject *keys = run->keyed ? Py_BuildValue("(OO)", run->keys.content, run->keys.lengths) : Py_BuildValue("");
    PyObject *kept = keys == NULL ? NULL : kept_new(kept_type, client, run->messages, run->count);
    if (kept == NULL) {
        Py_XDECREF(keys);
        return NULL;
    }
    run->messages = NULL;
    return Py_BuildValue("(si(OO)NNOOi)", librdkafka.topic_name(run->topic), (int)run->partition, run->values.content,
                         run->values.lengths, keys, kept, run->offsets, run->timestamps, (int)run->leader_epoch);
}

static void run_drop(Run *run) {
    joined_drop(&run->values);
    joined_drop(&run->keys);
    Py_XDECREF(run->offsets);
    Py_XDECREF(run->timestamps);
    if (run->messages != NULL) messages_destroy(run->messages, run->filled);
}

static PyObject *event_of(const rd_kafka_message_t *message) {
    const char *topic = message->topic == NULL ? NULL : librdkafka.topic_name(message->topic);
    const char *text = message->payload != NULL ? message->payload : librdkafka.err2str(message->err);
    PyObject *words = PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "replace");
    if (words == NULL) return NULL;
    return Py_BuildValue("(ziLiN)", topic, (int)message->partition, (long long)message->offset, (int)message->err, words);
}

/* Records come partition by partition, so the run of the last one is mostly that of the next. */
static Run *run_of(Run *runs, Py_ssize_t *count, Run *last, const rd_kafka_message_t *message) {
    if (last != NULL && last->partition == message->partition && last->topic == message->topic) return last;
    for (Py_ssize_t i = 0; i < *count; i++)
        if (runs[i].partition == message->partition && runs[i].topic == message->topic) return &runs[i];
    Run *run = &runs[(*count)++];
    run->topic = message->topic;
    run->partition = message->partition;
    return run;
}

/* Takes all messages, whatever comes of it: they go to the runs, or are destroyed. */
static PyObject *put_together(Reader *self, Py_ssize_t count) {
    rd_kafka_message_t **messages = self->messages;
    PyObject *records = PyList_New(0), *events = PyList_New(0), *result = NULL;
    Run *runs = calloc((size_t)count + 1, sizeof *runs), *run = NULL;
    Py_ssize_t run_count = 0, taken = 0;
    if (runs == NULL) PyErr_NoMemory();
    if (runs == NULL || records == NULL || events == NULL) goto done;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (messages[i]->err != ERR_NO_ERROR) continue;
        run = run_of(runs, &run_count, run, messages[i]);
        run->count++;
        run->keyed |= messages[i]->key != NULL;
        run->values.bytes += messages[i]->payload == NULL ? 0 : messages[i]->len;
        run->keys.bytes += messages[i]->key == NULL ? 0 : messages[i]->key_len;
    }
    for (Py_ssize_t i = 0; i < run_count; i++)
        if (run_begin(&runs[i]) < 0) goto done;
    for (; taken < count; taken++) {
        rd_kafka_message_t *message = messages[taken];
        if (message->err == ERR_NO_ERROR) {
            run = run_of(runs, &run_count, run, message);
            run_add(run, message);
            continue;
        }
        PyObject *event = event_of(message);
        int failed = event == NULL || PyList_Append(events, event) < 0;
        Py_XDECREF(event);
        if (failed) goto done;
        librdkafka.message_destroy(message);
    }
    for (Py_ssize_t i = 0; i < run_count; i++) {
        PyObject *ended = run_end(&runs[i], self->kept_type, self->client);
        int failed = ended == NULL || PyList_Append(records, ended) < 0;
        Py_XDECREF(ended);
        if (failed) goto done;
    }
    result = Py_BuildValue("(OO)", records, events);
done:
    for (; taken < count; taken++) librdkafka.message_destroy(messages[taken]);
    for (Py_ssize_t i = 0; i < run_count; i++) run_drop(&runs[i]);
    free(runs);
    Py_XDECREF(records);
    Py_XDECREF(events);
    return result;
}

/* read(most, timeout_ms): what is there, else waits for the first record only. -> (runs, events) */
static PyObject *reader_read(PyObject *object, PyObject *arguments) {
    Reader *self = (Reader *)object;
    Py_ssize_t most;
    int timeout_ms;
    if (!PyArg_ParseTuple(arguments, "ni", &most, &timeout_ms)) return NULL;
    rd_kafka_queue_t *queue = queue_of(self);
    if (queue == NULL) return NULL;
    if (most < 1) return PyErr_Format(PyExc_ValueError, "most is %zd; wanted is 1 or more", most);
    if (most > self->room) {
        rd_kafka_message_t **messages = NULL;
        if ((size_t)most <= SIZE_MAX / sizeof *messages) messages = realloc(self->messages, (size_t)most * sizeof *messages);
        if (messages == NULL) return PyErr_NoMemory();
        self->messages = messages;
        self->room = most;
    }
    ssize_t count;
    Py_BEGIN_ALLOW_THREADS
    count = librdkafka.consume_batch_queue(queue, 0, self->messages, (size_t)most);
    if (count == 0 && timeout_ms > 0) {
        count = librdkafka.consume_batch_queue(queue, timeout_ms, self->messages, 1);
        if (count == 1 && most > 1) {
            ssize_t more = librdkafka.consume_batch_queue(queue, 0, self->messages + 1, (size_t)most - 1);
            if (more > 0) count += more;
        }
    }
    Py_END_ALLOW_THREADS
    if (count < 0) return PyErr_Format(PyExc_OSError, "%s", librdkafka.err2str(librdkafka.last_error()));
    return put_together(self, count);
}

/* split((joined, lengths)) */
PyObject *reader_split(PyObject *module, PyObject *arguments) {
    (void)module;
    Py_buffer joined, lengths;
    if (!PyArg_ParseTuple(arguments, "(y*y*)", &joined, &lengths)) return NULL;
    const char *at = joined.buf, *end = at + joined.len;
    const int32_t *length = lengths.buf;
    Py_ssize_t count = lengths.len / 4;
    PyObject *parts = PyList_New(count);
    for (Py_ssize_t i = 0; parts != NULL && i < count; i++) {
        PyObject *part = Py_None;
        if (length[i] < 0) Py_INCREF(part);
        else if (length[i] > end - at) {
            part = NULL;
            PyErr_SetString(PyExc_ValueError, "the lengths are more than there is");
        } else {
            part = PyBytes_FromStringAndSize(at, length[i]);
            at += length[i];
        }
        if (part == NULL || PyList_SetItem(parts, i, part) < 0) Py_CLEAR(parts);
    }
    PyBuffer_Release(&joined);
    PyBuffer_Release(&lengths);
    return parts;
}

static PyMethodDef methods[] = {
    {"take", reader_take, METH_VARARGS, "take(topic, partition): its records come to this reader until its fetcher is stopped."},
    {"read", reader_read, METH_VARARGS, "read(most, timeout_ms): runs of records by partition, and events."},
    {"close", reader_close, METH_NOARGS, "Lets go of the client; it cannot be destroyed before."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_init, reader_init},
    {Py_tp_dealloc, reader_dealloc},
    {Py_tp_methods, methods},
    {Py_tp_doc, "Reader(number, Kept): reads the partitions that it takes from the consumer with that number."},
    {0, NULL},
};

PyType_Spec reader_spec = {"_native.Reader", sizeof(Reader), 0, Py_TPFLAGS_DEFAULT, slots};
