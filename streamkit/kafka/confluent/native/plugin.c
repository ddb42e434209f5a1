/* How the extension comes to the clients that confluent-kafka makes: as a plugin of librdkafka.
 *
 * A configuration with `plugin.library.paths` = this file and `streamkit.client` = a number makes librdkafka call `conf_init`, then
 * `on_conf_set`, and `on_new` with the client. All of that is librdkafka's public interface for interceptors; nothing looks into
 * the objects of confluent-kafka.
 */

#include "native.h"

static const char *NAME = "streamkit";
static pthread_mutex_t clients_lock = PTHREAD_MUTEX_INITIALIZER;
static Client *clients;
_Thread_local int producing;

/* ---- the list of clients -----------------------------------------------------------------------------------------------*/

Failure *client_failure(Client *client) {
    pthread_mutex_lock(&client->lock);
    Failure *failure = client->failures;
    if (failure != NULL) client->failures = failure->next;
    pthread_mutex_unlock(&client->lock);
    return failure;
}

void failure_free(Failure *failure) {
    free(failure->topic);
    free(failure->key);
    free(failure);
}

Client *client_find(int64_t number) {
    pthread_mutex_lock(&clients_lock);
    Client *client = clients;
    while (client != NULL && (client->number != number || client->rk == NULL)) client = client->next;
    if (client != NULL) client->references++;
    pthread_mutex_unlock(&clients_lock);
    if (client == NULL) PyErr_Format(PyExc_LookupError, "librdkafka made no client with number %lld", (long long)number);
    return client;
}

void client_keep(Client *client) {
    pthread_mutex_lock(&clients_lock);
    client->references++;
    pthread_mutex_unlock(&clients_lock);
}

void client_release(Client *client) {
    pthread_mutex_lock(&clients_lock);
    int last = --client->references == 0;
    if (last) {
        Client **link = &clients;
        while (*link != client) link = &(*link)->next;
        *link = client->next;
    }
    pthread_mutex_unlock(&clients_lock);
    if (last) {
        while (client->failures != NULL) failure_free(client_failure(client));
        pthread_mutex_destroy(&client->lock);
        free(client);
    }
}

/* With the client's lock. */
static rd_kafka_message_t **kept_unlink(Kept *kept) {
    rd_kafka_message_t **messages = kept->messages;
    *kept->link = kept->next;
    if (kept->next != NULL) kept->next->link = kept->link;
    kept->messages = NULL;
    return messages;
}

rd_kafka_message_t **kept_take(Kept *kept) {
    if (kept->client == NULL) return NULL;
    pthread_mutex_lock(&kept->client->lock);
    rd_kafka_message_t **messages = kept->messages == NULL ? NULL : kept_unlink(kept);
    pthread_mutex_unlock(&kept->client->lock);
    return messages;
}

void messages_destroy(rd_kafka_message_t **messages, Py_ssize_t count) {
    for (Py_ssize_t i = 0; i < count; i++) librdkafka.message_destroy(messages[i]);
    free(messages);
}

void client_let_go(Client *client) {
    pthread_mutex_lock(&client->lock);
    rd_kafka_queue_t *queue = client->queue;
    rd_kafka_topic_t **topics = client->topics;
    size_t count = client->topic_count;
    client->queue = NULL;
    client->topics = NULL;
    client->topic_count = 0;
    pthread_mutex_unlock(&client->lock);
    for (;;) {
        pthread_mutex_lock(&client->lock);
        Kept *kept = client->kept;
        Py_ssize_t kept_count = kept == NULL ? 0 : kept->count;
        rd_kafka_message_t **messages = kept == NULL ? NULL : kept_unlink(kept);
        pthread_mutex_unlock(&client->lock);
        if (messages == NULL) break;
        messages_destroy(messages, kept_count);
    }
    if (queue != NULL) librdkafka.queue_destroy(queue);
    while (count > 0) librdkafka.topic_destroy(topics[--count]);
    free(topics);
}

/* ---- called by librdkafka ----------------------------------------------------------------------------------------------*/

static int on_conf_set(rd_kafka_conf_t *conf, const char *name, const char *value, char *error, size_t size, void *opaque) {
    (void)conf, (void)error, (void)size;
    if (strcmp(name, "streamkit.client") != 0) return CONF_UNKNOWN;
    ((Client *)opaque)->number = value == NULL ? 0 : strtoll(value, NULL, 10);
    return CONF_OK;
}

static rd_kafka_err_t on_conf_destroy(void *opaque) {
    client_release(opaque);
    return ERR_NO_ERROR;
}

/* On a thread of librdkafka. Kinds of failures are few, however many records fail. Records that confluent-kafka produced have an
 * opaque and a callback of its own; what `producev` itself refuses is told by its result. */
static rd_kafka_err_t on_acknowledgement(rd_kafka_t *rk, rd_kafka_message_t *message, void *opaque) {
    (void)rk;
    if (message->err == ERR_NO_ERROR || message->opaque != NULL || producing) return ERR_NO_ERROR;
    Client *client = opaque;
    pthread_mutex_lock(&client->lock);
    Failure **end = &client->failures;
    while (*end != NULL && (*end)->err != message->err) end = &(*end)->next;
    Failure *failure = *end;
    if (failure == NULL && (failure = calloc(1, sizeof *failure)) != NULL) {
        failure->err = message->err;
        failure->partition = message->partition;
        failure->topic = strdup(message->topic == NULL ? "" : librdkafka.topic_name(message->topic));
        if (message->key != NULL && (failure->key = malloc(message->key_len + 1)) != NULL) {
            memcpy(failure->key, message->key, message->key_len);
            failure->key_len = message->key_len;
        }
        *end = failure; /* in the order in which they came: the first is what the transaction is said to have failed of */
    }
    if (failure != NULL) {
        failure->count++;
        failure->null_keys += message->key == NULL;
    }
    pthread_mutex_unlock(&client->lock);
    return ERR_NO_ERROR;
}

/* librdkafka waits for what we hold before it destroys the client; this comes before it waits. */
static rd_kafka_err_t on_destroy(rd_kafka_t *rk, void *opaque) {
    (void)rk;
    Client *client = opaque;
    client_let_go(client);
    client->rk = NULL;
    return ERR_NO_ERROR;
}

static rd_kafka_err_t on_new(rd_kafka_t *rk, const rd_kafka_conf_t *conf, void *opaque, char *error, size_t size) {
    (void)conf, (void)error, (void)size;
    Client *client = opaque;
    client->rk = rk;
    librdkafka.interceptor_add_on_destroy(rk, NAME, on_destroy, client);
    librdkafka.interceptor_add_on_acknowledgement(rk, NAME, on_acknowledgement, client);
    return ERR_NO_ERROR;
}

/* The entry of a plugin of librdkafka. */
__attribute__((visibility("default"))) rd_kafka_err_t conf_init(rd_kafka_conf_t *conf, void **opaque, char *error, size_t size) {
    (void)opaque, (void)error, (void)size;
    if (librdkafka.version == NULL) return ERR_INVALID_ARG; /* load() was never called */
    Client *client = calloc(1, sizeof *client);
    if (client == NULL) return ERR_INVALID_ARG;
    client->references = 1; /* the configuration's: it lives as long as the client */
    pthread_mutex_init(&client->lock, NULL);
    pthread_mutex_lock(&clients_lock);
    client->next = clients;
    clients = client;
    pthread_mutex_unlock(&clients_lock);
    librdkafka.conf_interceptor_add_on_conf_set(conf, NAME, on_conf_set, client);
    librdkafka.conf_interceptor_add_on_new(conf, NAME, on_new, client);
    librdkafka.conf_interceptor_add_on_conf_destroy(conf, NAME, on_conf_destroy, client);
    return ERR_NO_ERROR;
}
