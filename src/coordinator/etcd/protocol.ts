import type { ServiceDefinition } from '@grpc/grpc-js'
import { fromJSON } from '@grpc/proto-loader'

/**
 * The part of etcd's protocol (v3, from release 3.4 on) that the coordinator speaks. Numbers of fields are etcd's; a
 * module instead of a .proto file, so that nothing has to be found at run time. 64-bit numbers are decimal texts.
 */

export interface Header {
  readonly clusterId: string
  readonly memberId: string
  /** Of the store when the request was applied. */
  readonly revision: string
}

export interface KeyValue {
  readonly key: Buffer
  readonly modRevision: string
  readonly value: Buffer
  readonly lease: string
}

export interface RangeRequest {
  readonly key: Buffer
  readonly rangeEnd?: Buffer
}

export interface RangeResponse {
  readonly header: Header | null
  readonly kvs: readonly KeyValue[]
  readonly more: boolean
}

export interface PutRequest {
  readonly key: Buffer
  readonly value: Buffer
  readonly lease?: string
}

export type Compare =
  | {
      readonly result: 'EQUAL'
      readonly target: 'MOD'
      readonly key: Buffer
      readonly modRevision: number
    }
  | {
      readonly result: 'EQUAL'
      readonly target: 'VALUE'
      readonly key: Buffer
      readonly value: Buffer
    }

export type RequestOp = { readonly requestRange: RangeRequest } | { readonly requestPut: PutRequest }

export interface TxnRequest {
  readonly compare: readonly Compare[]
  readonly success: readonly RequestOp[]
  readonly failure: readonly RequestOp[]
}

export interface ResponseOp {
  readonly responseRange?: RangeResponse | null
}

export interface TxnResponse {
  readonly header: Header | null
  readonly succeeded: boolean
  readonly responses: readonly ResponseOp[]
}

export interface CompactionRequest {
  readonly revision: string
}

export interface WatchCreateRequest {
  readonly key: Buffer
  readonly rangeEnd: Buffer
  readonly startRevision: string
}

export type WatchRequest =
  | { readonly createRequest: WatchCreateRequest }
  /** Answered at once, with no events: a sign of life. */
  | { readonly progressRequest: Readonly<Record<string, never>> }

export interface WatchEvent {
  readonly type: 'PUT' | 'DELETE'
  /** Of a deleted key only key and revision. */
  readonly kv: KeyValue | null
}

export interface WatchResponse {
  readonly header: Header | null
  readonly created: boolean
  readonly canceled: boolean
  /** Not 0: the revision to watch from is gone, what is left begins here. */
  readonly compactRevision: string
  readonly cancelReason: string
  readonly events: readonly WatchEvent[]
}

export interface LeaseGrantRequest {
  /** Seconds. */
  readonly TTL: number
}

export interface LeaseGrantResponse {
  readonly ID: string
  readonly TTL: string
}

export interface LeaseKeepAliveRequest {
  readonly ID: string
}

export interface LeaseKeepAliveResponse {
  readonly ID: string
  /** Seconds; 0: there is no such lease any more. */
  readonly TTL: string
}

export interface LeaseRevokeRequest {
  readonly ID: string
}

export interface AuthenticateRequest {
  readonly name: string
  readonly password: string
}

export interface AuthenticateResponse {
  readonly token: string
}

type FieldSpec = readonly [number: number, type: string] | readonly [number: number, type: string, rule: 'repeated']

function message(fields: Readonly<Record<string, FieldSpec>>, oneof?: { name: string; of: readonly string[] }) {
  return {
    ...(oneof === undefined ? {} : { oneofs: { [oneof.name]: { oneof: [...oneof.of] } } }),
    fields: Object.fromEntries(
      Object.entries(fields).map(([name, [id, type, rule]]) => [
        name,
        rule === undefined ? { id, type } : { id, type, rule },
      ]),
    ),
  }
}

function unary(request: string, response: string) {
  return { requestType: request, responseType: response, comment: '' }
}

function streaming(request: string, response: string) {
  return { ...unary(request, response), requestStream: true, responseStream: true }
}

const header = [1, 'ResponseHeader'] as const

const definition = fromJSON(
  {
    nested: {
      mvccpb: {
        nested: {
          KeyValue: message({
            key: [1, 'bytes'],
            createRevision: [2, 'int64'],
            modRevision: [3, 'int64'],
            version: [4, 'int64'],
            value: [5, 'bytes'],
            lease: [6, 'int64'],
          }),
          Event: {
            ...message({ type: [1, 'EventType'], kv: [2, 'KeyValue'], prevKv: [3, 'KeyValue'] }),
            nested: { EventType: { values: { PUT: 0, DELETE: 1 } } },
          },
        },
      },
      etcdserverpb: {
        nested: {
          ResponseHeader: message({
            clusterId: [1, 'uint64'],
            memberId: [2, 'uint64'],
            revision: [3, 'int64'],
            raftTerm: [4, 'uint64'],
          }),
          RangeRequest: message({
            key: [1, 'bytes'],
            rangeEnd: [2, 'bytes'],
            limit: [3, 'int64'],
            revision: [4, 'int64'],
            serializable: [7, 'bool'],
          }),
          RangeResponse: message({
            header,
            kvs: [2, 'mvccpb.KeyValue', 'repeated'],
            more: [3, 'bool'],
            count: [4, 'int64'],
          }),
          PutRequest: message({ key: [1, 'bytes'], value: [2, 'bytes'], lease: [3, 'int64'] }),
          PutResponse: message({ header }),
          RequestOp: message(
            { requestRange: [1, 'RangeRequest'], requestPut: [2, 'PutRequest'] },
            { name: 'request', of: ['requestRange', 'requestPut'] },
          ),
          ResponseOp: message(
            { responseRange: [1, 'RangeResponse'], responsePut: [2, 'PutResponse'] },
            { name: 'response', of: ['responseRange', 'responsePut'] },
          ),
          Compare: {
            ...message(
              {
                result: [1, 'CompareResult'],
                target: [2, 'CompareTarget'],
                key: [3, 'bytes'],
                modRevision: [6, 'int64'],
                value: [7, 'bytes'],
              },
              { name: 'targetUnion', of: ['modRevision', 'value'] },
            ),
            nested: {
              CompareResult: { values: { EQUAL: 0, GREATER: 1, LESS: 2, NOT_EQUAL: 3 } },
              CompareTarget: { values: { VERSION: 0, CREATE: 1, MOD: 2, VALUE: 3, LEASE: 4 } },
            },
          },
          TxnRequest: message({
            compare: [1, 'Compare', 'repeated'],
            success: [2, 'RequestOp', 'repeated'],
            failure: [3, 'RequestOp', 'repeated'],
          }),
          TxnResponse: message({ header, succeeded: [2, 'bool'], responses: [3, 'ResponseOp', 'repeated'] }),
          CompactionRequest: message({ revision: [1, 'int64'], physical: [2, 'bool'] }),
          CompactionResponse: message({ header }),
          WatchRequest: message(
            {
              createRequest: [1, 'WatchCreateRequest'],
              cancelRequest: [2, 'WatchCancelRequest'],
              progressRequest: [3, 'WatchProgressRequest'],
            },
            { name: 'requestUnion', of: ['createRequest', 'cancelRequest', 'progressRequest'] },
          ),
          WatchCreateRequest: message({ key: [1, 'bytes'], rangeEnd: [2, 'bytes'], startRevision: [3, 'int64'] }),
          WatchCancelRequest: message({ watchId: [1, 'int64'] }),
          WatchProgressRequest: message({}),
          WatchResponse: message({
            header,
            watchId: [2, 'int64'],
            created: [3, 'bool'],
            canceled: [4, 'bool'],
            compactRevision: [5, 'int64'],
            cancelReason: [6, 'string'],
            events: [11, 'mvccpb.Event', 'repeated'],
          }),
          LeaseGrantRequest: message({ TTL: [1, 'int64'], ID: [2, 'int64'] }),
          LeaseGrantResponse: message({ header, ID: [2, 'int64'], TTL: [3, 'int64'], error: [4, 'string'] }),
          LeaseRevokeRequest: message({ ID: [1, 'int64'] }),
          LeaseRevokeResponse: message({ header }),
          LeaseKeepAliveRequest: message({ ID: [1, 'int64'] }),
          LeaseKeepAliveResponse: message({ header, ID: [2, 'int64'], TTL: [3, 'int64'] }),
          AuthenticateRequest: message({ name: [1, 'string'], password: [2, 'string'] }),
          AuthenticateResponse: message({ header, token: [2, 'string'] }),
          KV: {
            methods: {
              Range: unary('RangeRequest', 'RangeResponse'),
              Txn: unary('TxnRequest', 'TxnResponse'),
              Compact: unary('CompactionRequest', 'CompactionResponse'),
            },
          },
          Watch: { methods: { Watch: streaming('WatchRequest', 'WatchResponse') } },
          Lease: {
            methods: {
              LeaseGrant: unary('LeaseGrantRequest', 'LeaseGrantResponse'),
              LeaseRevoke: unary('LeaseRevokeRequest', 'LeaseRevokeResponse'),
              LeaseKeepAlive: streaming('LeaseKeepAliveRequest', 'LeaseKeepAliveResponse'),
            },
          },
          Auth: { methods: { Authenticate: unary('AuthenticateRequest', 'AuthenticateResponse') } },
        },
      },
    },
  },
  { longs: String, enums: String, defaults: true, oneofs: true },
)

/** How one call is put on the wire. */
export interface Method<Request, Response> {
  readonly path: string
  readonly serialize: (request: Request) => Buffer
  readonly deserialize: (bytes: Buffer) => Response
}

function method<Request, Response>(service: string, name: string): Method<Request, Response> {
  const { path, requestSerialize, responseDeserialize } = (definition[`etcdserverpb.${service}`] as ServiceDefinition)[
    name
  ]!
  return {
    path,
    serialize: (request) => requestSerialize(request as object),
    deserialize: (bytes) => responseDeserialize(bytes) as Response,
  }
}

export const methods = Object.freeze({
  range: method<RangeRequest, RangeResponse>('KV', 'Range'),
  txn: method<TxnRequest, TxnResponse>('KV', 'Txn'),
  compact: method<CompactionRequest, { readonly header: Header | null }>('KV', 'Compact'),
  watch: method<WatchRequest, WatchResponse>('Watch', 'Watch'),
  leaseGrant: method<LeaseGrantRequest, LeaseGrantResponse>('Lease', 'LeaseGrant'),
  leaseRevoke: method<LeaseRevokeRequest, { readonly header: Header | null }>('Lease', 'LeaseRevoke'),
  leaseKeepAlive: method<LeaseKeepAliveRequest, LeaseKeepAliveResponse>('Lease', 'LeaseKeepAlive'),
  authenticate: method<AuthenticateRequest, AuthenticateResponse>('Auth', 'Authenticate'),
})
