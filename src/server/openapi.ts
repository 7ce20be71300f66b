import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { version } from '../version.js'
import { errorSchema } from './answer-schemas.js'
import type { KnownRoute, KnownRoutes } from './known-routes.js'
import { parseQuery } from './request.js'
import { access } from './route-access.js'
import { type AnswerDescription, type RouteDescription, routeDescriptions } from './route-descriptions.js'

type Json = Readonly<Record<string, unknown>>

/** The page and what it is made of are for browsers, not for programs. */
export function isDescribed(path: string): boolean {
  return path.startsWith('/v1/') || ['/livez', '/readyz', '/metrics'].includes(path)
}

export function addOpenApiRoute(app: FastifyInstance, routes: KnownRoutes): void {
  let document: string | undefined
  app.get('/v1/openapi.json', { ...access('everybody') }, async (request, reply) => {
    parseQuery(request, [])
    document ??= JSON.stringify(describeRoutes(routes.list))
    return reply.type('application/json; charset=utf-8').send(document)
  })
}

/** The description of these routes as an OpenAPI 3.1 document. */
export function describeRoutes(routes: readonly KnownRoute[]): Json {
  const paths: Record<string, Record<string, Json>> = {}
  const schemas: Record<string, Json> = { Error: schemaOf(errorSchema) }
  for (const { method, path, access: needed } of routes) {
    const description = routeDescriptions[`${method} ${path}`]
    if (description === undefined || !isDescribed(path)) continue
    for (const answer of Object.values(description.answers)) {
      if (answer.component !== undefined) schemas[answer.component] = schemaOf(answer.schema!)
    }
    paths[path] ??= {}
    paths[path][method.toLowerCase()] = {
      operationId: `${method.toLowerCase()}${path.replaceAll(/[^A-Za-z0-9]+(.)?/g, (_all, next?: string) => next?.toUpperCase() ?? '')}`,
      ...operationOf(description, method === 'HEAD', needed === 'everybody'),
      'x-understudy-access': needed,
    }
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Understudy',
      version,
      description: 'One node of a cluster: data, operation and status. Errors are always the schema Error.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    paths,
    components: {
      schemas,
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer', description: 'A token, or the secret of the cluster' },
        certificate: { type: 'mutualTLS', description: 'A client certificate whose name has scopes' },
      },
    },
  }
}

function operationOf(description: RouteDescription, isHead: boolean, isOpen: boolean): Json {
  const { summary, parameters = [], body, answers, errors } = description
  const responses: Record<string, Json> = {}
  for (const [status, answer] of Object.entries(answers)) responses[status] = answerOf(answer, isHead)
  // Any request may be refused like this, whatever its route is.
  const common = [...(isOpen ? [] : [401, 403]), ...(body === undefined ? [] : [408, 413, 415]), 414, 431, 500, 503]
  for (const status of [...new Set([...errors, ...common])].sort()) {
    responses[status] = {
      description: 'Refused, and why',
      ...(isHead ? {} : { content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } } }),
    }
  }
  return {
    summary,
    ...(isOpen ? { security: [] } : { security: [{ token: [] }, { certificate: [] }, {}] }),
    parameters: parameters.map((parameter) => ({ ...parameter, required: parameter.in === 'path' })),
    ...(body === undefined
      ? {}
      : {
          requestBody: {
            required: body.required,
            content: { [body.type]: body.schema === undefined ? {} : { schema: schemaOf(body.schema) } },
          },
        }),
    responses,
  }
}

function answerOf({ description, type, component, headers = [] }: AnswerDescription, isHead: boolean): Json {
  const schema = component === undefined ? {} : { schema: { $ref: `#/components/schemas/${component}` } }
  return {
    description,
    ...(headers.length === 0
      ? {}
      : {
          headers: Object.fromEntries(
            headers.map((name) => [name, { description: 'epoch.sequence', schema: { type: 'string' } }]),
          ),
        }),
    ...(type === undefined || isHead ? {} : { content: { [type]: schema } }),
  }
}

/** Of a request or an answer as it stands in JSON; readers must not fail at fields that later releases add. */
function schemaOf(schema: z.ZodType): Json {
  const { $schema: _draft, ...rest } = z.toJSONSchema(schema, { io: 'input' })
  return rest
}
